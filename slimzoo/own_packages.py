"""Makes sure that `nets` is this project's `nets`.

TF-Slim's README puts its own folder on PYTHONPATH, and that folder has a `nets` and a
`preprocessing` too. An installed command would import those instead.
"""

from __future__ import annotations

import importlib.util
import pathlib
import sys

PACKAGES = ("nets", "preprocessing", "image_datasets", "weight_formats", "training")
MODULES = ("slimzoo_registry",)

# They are installed beside this package, or lie beside it in a checkout.
_HOME = pathlib.Path(__file__).resolve().parents[1]


def load() -> None:
    """Imports the packages that lie beside this one, whatever else has their names.

    Raises:
      ImportError: if another package of such a name has been imported already. The message says
        where that one is.
    """
    for name in (*MODULES, *PACKAGES):
        if name in sys.modules:
            _check_is_own(name)
        else:
            _import_own(name)


def _check_is_own(name: str) -> None:
    module = sys.modules[name]
    # A folder without __init__.py is a package as well, which has no file.
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    place = next(filter(None, places), None)
    if place is None or _HOME not in pathlib.Path(place).resolve().parents:
        raise ImportError(
            f"The package {name!r} has been imported from {place or 'an unknown place'}, but "
            f"slimzoo needs its own in {_HOME}. Take the other folder off PYTHONPATH, or import "
            "slimzoo's first."
        )


def _import_own(name: str) -> None:
    folder = _HOME / name
    if name in PACKAGES:
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
    else:
        spec = importlib.util.spec_from_file_location(name, folder.with_suffix(".py"))
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is missing: install slimzoo again.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
