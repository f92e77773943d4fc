"""Keras' global settings: those that these networks cannot run with, and what to set instead.

Keras reads them when it is imported, so this is asked before, and imports nothing of Keras.
"""

from __future__ import annotations

import json
import os
import sys

_VARIABLE = "KERAS_BACKEND"


def require_tensorflow() -> None:
    """Makes sure that Keras runs, or will run, on TensorFlow.

    Raises:
      ImportError: if the environment variable KERAS_BACKEND or the file keras.json says otherwise.
    """
    from_variable, path = os.environ.get(_VARIABLE), _settings_path()
    from_file = _backend_in(path)
    backend = from_variable or from_file
    if "keras" in sys.modules:  # what it was told then is what counts now
        backend = sys.modules["keras"].config.backend()
    if backend == "tensorflow":
        return
    if backend == from_variable:
        where = f"the environment variable {_VARIABLE} is {backend!r}"
        remedy = f"Unset it, or set {_VARIABLE}=tensorflow."
    elif backend == from_file:
        where = f'{path} has "backend": "{backend}"'
        remedy = (
            'Write "backend": "tensorflow" there, or set the environment variable '
            f"{_VARIABLE}=tensorflow."
        )
    else:
        where = f"Keras was imported with the backend {backend!r}"
        remedy = f"Set {_VARIABLE}=tensorflow before it is imported."
    raise ImportError(f"These networks need Keras on TensorFlow, and {where}. {remedy}")


def _settings_path() -> str:
    """Where Keras has its settings."""
    folder = os.environ.get("KERAS_HOME")
    if folder is None:
        home = os.path.expanduser("~")
        folder = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    return os.path.expanduser(os.path.join(folder, "keras.json"))


def _backend_in(path: str) -> str:
    """The backend that a file of settings names; as in Keras, a damaged file names none."""
    try:
        with open(path) as file:
            settings = json.load(file)
    except (OSError, ValueError):
        settings = {}
    return settings.get("backend", "tensorflow") if isinstance(settings, dict) else "tensorflow"
