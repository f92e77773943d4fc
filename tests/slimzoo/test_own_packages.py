import importlib.metadata
import pathlib
import subprocess
import sys

import pytest

from slimzoo import __version__, own_packages

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def tf_slims_folder(tmp_path):
    """As TF-Slim's README puts it on PYTHONPATH: with packages of our names."""
    for name in ("nets", "preprocessing"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('TF-Slim wants TF 1')\n")
    return tmp_path


def run(code, folder):
    path = f"import sys; sys.path[:0] = [{str(folder)!r}]; sys.path.append({str(ROOT)!r})\n"
    return subprocess.run(
        [sys.executable, "-P", "-c", path + code], cwd=folder, capture_output=True, text=True
    )


def test_a_command_finds_its_own_packages(tf_slims_folder):
    finished = run(
        "sys.argv = ['export_saved_model', '--checkpoint_path=/nowhere']\n"
        "from slimzoo import drivers\n"
        "drivers.export_saved_model()\n",
        tf_slims_folder,
    )
    assert "does not exist. It takes a train_dir" in finished.stderr
    assert finished.returncode == 1


@pytest.mark.parametrize("module", ["__init__.py", "alexnet.py"])  # and no __init__.py
def test_a_package_of_somebody_else_is_named(module, tmp_path):
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / module).write_text("")
    finished = run(
        "import os\n"
        "root = sys.path.pop()\n"
        "import nets\n"
        "sys.path.append(root)\n"
        "from slimzoo import own_packages\n"
        "os.chdir(root)\n"
        "own_packages.load()\n",
        tmp_path,
    )
    assert f"The package 'nets' has been imported from {tmp_path / 'nets'}" in finished.stderr
    assert "Take the other folder off PYTHONPATH" in finished.stderr


def test_all_of_the_checkout_is_known():
    """What setup.py installs beside `slimzoo`."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"slimzoo"}
    assert packages == set(own_packages.PACKAGES)
    own_packages.load()  # all are its own, and stay as they are


def test_the_version_is_that_of_the_installation():
    assert importlib.metadata.version("slimzoo") == __version__
