"""The entry of each command: module, function, script and installed command go together."""

import ast
import importlib
import inspect
import pathlib

import pytest

from slimzoo import drivers, interruption, own_packages, steady_output

ROOT = pathlib.Path(__file__).parents[2]
NAMES = [path.stem for path in (ROOT / "slimzoo" / "commands").glob("[a-z]*.py")]


@pytest.fixture(autouse=True)
def _process_left_alone(monkeypatch):
    """Signals and streams are those of the tests."""
    monkeypatch.setattr(interruption, "raise_on_signals", lambda: None)
    monkeypatch.setattr(steady_output, "install", lambda: None)


def test_commands_are_found():
    assert len(NAMES) == 7


@pytest.mark.parametrize("name", NAMES)
def test_a_command_has_a_driver_that_runs_it_and_a_script_that_calls_that(name, monkeypatch):
    started = []
    module = importlib.import_module(f"slimzoo.commands.{name}")
    monkeypatch.setattr(module, "main", lambda: started.append(name))
    getattr(drivers, name)()
    assert started == [name]
    tree = ast.parse((ROOT / f"{name}.py").read_text())
    (imported,) = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imported.module == "slimzoo.drivers"
    assert [alias.name for alias in imported.names] == [name]


def test_every_driver_is_installed():
    functions = [
        name for name, _ in inspect.getmembers(drivers, inspect.isfunction) if name[0] != "_"
    ]
    assert sorted(functions) == sorted(NAMES)
    (installed,) = [
        node.value
        for node in ast.walk(ast.parse((ROOT / "setup.py").read_text()))
        if isinstance(node, ast.Assign) and node.targets[0].id == "DRIVERS"
    ]
    assert sorted(ast.literal_eval(installed)) == sorted(NAMES)


def test_a_package_that_cannot_be_imported_is_one_line(monkeypatch, capsys):
    def load():
        raise ImportError("The package 'nets' has been imported from elsewhere.")

    monkeypatch.setattr(own_packages, "load", load)
    with pytest.raises(SystemExit) as end:
        drivers.export_saved_model()
    assert end.value.code == 1
    assert capsys.readouterr().err == (
        "\nERROR: The package 'nets' has been imported from elsewhere.\n"
    )
