import io
import os
import sys

import pytest

from slimzoo import steady_output


@pytest.fixture
def broken_pipe():
    """A stream whose reader is gone, as that of `| head`."""
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w", buffering=1)
    yield stream
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_what_nobody_reads_is_dropped(broken_pipe, monkeypatch):
    monkeypatch.setattr(sys, "stdout", broken_pipe)
    monkeypatch.setattr(sys, "stderr", sys.stderr)  # which is restored after the test
    with pytest.raises(BrokenPipeError):
        print("a line", flush=True)
    steady_output.install()
    print("another line", flush=True)
    assert sys.stdout.write("text") == 4


def test_what_can_be_written_is(capsys, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    steady_output.install()
    print("out", flush=True)
    print("err", file=sys.stderr)
    assert capsys.readouterr() == ("out\n", "err\n")
    assert sys.stdout.isatty() is False
    assert sys.stdout.encoding.lower() == "utf-8"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_a_terminal_gets_messages_in_narrow_lines_and_a_file_in_one(monkeypatch, stream):
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    steady_output.install()
    message = "ERROR: " + "a word " * 30
    print(f"\n{message}")
    said = stream.getvalue()
    assert said.split() == message.split()
    if stream.isatty():
        assert max(map(len, said.splitlines())) < 80
    else:
        assert said == f"\n{message}\n"
    bar = "\r" + "a figure " * 20
    sys.stdout.write(bar)
    assert stream.getvalue().endswith(bar)


def test_a_process_without_streams_has_none(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    steady_output.install()
    assert sys.stderr is None


def test_what_libraries_write_beside_it_is_kept_back_and_nothing_else(capfd):
    os.write(2, b"before\n")
    with steady_output.standard_error_kept_silent():
        os.write(2, b"of C++\n")
        print("a line")
    os.write(2, b"after\n")
    assert capfd.readouterr() == ("a line\n", "before\nafter\n")


def test_a_closed_standard_error_stays_closed(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with steady_output.standard_error_kept_silent():
        assert sys.stderr is None
