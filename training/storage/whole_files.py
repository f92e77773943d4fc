"""Text files that are written whole or not at all."""

from __future__ import annotations

import os
import pathlib


def write_text(path: str, text: str) -> None:
    """Writes a file whole or not at all: under another name first."""
    temporary = f"{path}.incomplete"
    pathlib.Path(temporary).write_text(text)
    os.replace(temporary, path)
