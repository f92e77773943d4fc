import subprocess
import sys

import pytest

from training.storage.locks import locked


def test_a_folder_is_locked_once_and_is_free_afterwards(tmp_path):
    with (
        locked(tmp_path),
        pytest.raises(ValueError, match=f"Another process is writing {tmp_path}"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):
        pass


def test_a_dead_process_holds_no_lock(tmp_path):
    code = (
        "import os, pathlib, sys\n"
        "from training.storage.locks import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): os._exit(9)\n"
    )
    finished = subprocess.run([sys.executable, "-c", code, str(tmp_path)])
    assert finished.returncode == 9
    with locked(tmp_path):
        pass
