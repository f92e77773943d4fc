import subprocess
import sys

import pytest

from training.storage.locks import locked

fcntl = pytest.importorskip("fcntl")


def test_a_folder_has_one_writer_at_a_time(tmp_path):
    with locked(tmp_path):
        with (
            pytest.raises(ValueError, match=f"Another process is writing {tmp_path}"),
            locked(tmp_path),
        ):
            pass
        (tmp_path / "other").mkdir()
        with locked(tmp_path / "other"):
            pass
    with locked(tmp_path):
        pass


def test_a_lock_ends_with_an_error_and_with_its_process(tmp_path):
    def fail():
        with locked(tmp_path):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    holder = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import fcntl, os, sys, time\n"
            "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)\n"
            "print('held', flush=True)\n"
            "time.sleep(60)\n",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match="Another process is writing"), locked(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    with locked(tmp_path):
        pass


def test_a_file_system_without_locks_is_written_all_the_same(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path):
        (tmp_path / "file").touch()
    assert (tmp_path / "file").exists()
