import dataclasses
import hashlib
import signal
import threading
from concurrent import futures

import keras
import pytest
from free_ports import free_ports
from published_files import Answer, archive

from training.storage import locks
from training.zoo import cache
from training.zoo.cache import cache_folder, fetch, kept_checkpoint

FILES = {"net.ckpt.index": b"index", "net.ckpt.data-00000-of-00001": bytes(range(256)) * 4096}
ARCHIVE = archive({"README": b"", **FILES})


def left(folder):
    """All that is in the cache."""
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


def test_a_checkpoint_is_downloaded_once(publish, server, zoo_folder, capsys):
    row = publish("mine", ARCHIVE)
    path = fetch(row)
    assert path == str(zoo_folder / "mine" / "net.ckpt")
    said = capsys.readouterr().out
    assert said.startswith(f"zoo:mine is downloaded once, from {row.url} to {zoo_folder}\n")
    assert said.count("\n") == 2  # without the progress bar
    assert keras.config.is_interactive_logging_enabled()
    assert f"{len(ARCHIVE) / 1e6:,.1f} MB, is kept in {zoo_folder}/mine" in said
    assert {name: (zoo_folder / "mine" / name).read_bytes() for name in FILES} == FILES
    assert left(zoo_folder) == ["mine", *sorted(FILES)]

    cache._said.clear()  # another process
    assert fetch(row) == path
    assert capsys.readouterr().out == f"zoo:mine is in the cache already: {path}\n"
    assert fetch(row) == path
    assert capsys.readouterr().out == ""  # said once
    assert server.requests == ["/mine/weights.tar.gz"]


def test_a_file_of_weights_stays_as_it_is(publish, zoo_folder):
    row = publish("mine", b"weights", "net.pth", checkpoint="net.pth")
    assert fetch(row) == str(zoo_folder / "mine" / "net.pth")
    assert (zoo_folder / "mine" / "net.pth").read_bytes() == b"weights"
    assert left(zoo_folder) == ["mine", "net.pth"]


@pytest.mark.parametrize("digits", [40, 8])
def test_a_digest_is_checked_as_far_as_the_authors_give_it(publish, zoo_folder, digits):
    digest = hashlib.sha1(b"weights").hexdigest()[:digits]
    row = publish("mine", b"weights", "net.pth", digest=f"sha1:{digest}")
    assert fetch(row)
    other = publish("other", b"Weights", "net.pth", digest=f"sha1:{digest}")
    with pytest.raises(
        ValueError,
        match=f"comes from {other.url} is not taken: its sha1 is .*{digest}. Nothing of it is kept",
    ):
        fetch(other)
    assert left(zoo_folder) == ["mine", "net.pth"]


def test_what_was_cut_off_is_not_kept(publish, server, zoo_folder):
    row = publish("mine", ARCHIVE, length=len(ARCHIVE) + 1)
    with pytest.raises(ValueError, match=f"from {row.url}: the connection was cut .*got only"):
        fetch(row)
    assert left(zoo_folder) == []
    server.answers["/mine/weights.tar.gz"].length = None
    assert fetch(row)  # the same command again


def test_a_server_that_falls_silent_is_not_waited_for(publish, zoo_folder, monkeypatch):
    monkeypatch.setattr(cache, "_PATIENCE_SECS", 0.2)
    gone = threading.Event()
    row = publish("mine", ARCHIVE, length=2 * len(ARCHIVE), then=lambda: gone.wait(60) and b"")
    with pytest.raises(ValueError, match=f"from {row.url}: the server has sent nothing for"):
        fetch(row)
    gone.set()
    assert left(zoo_folder) == []


def test_without_a_network_it_is_said_how_to_do_without(publish, zoo_folder):
    row = publish("mine", ARCHIVE)
    (port,) = free_ports(1)
    row = dataclasses.replace(row, url=f"http://127.0.0.1:{port}/weights.tar.gz")
    with pytest.raises(ValueError, match=f"from {row.url}: Connection refused") as raised:
        fetch(row)
    assert f"put it as weights.tar.gz into {zoo_folder}" in str(raised.value)
    assert left(zoo_folder) == []

    (zoo_folder / "weights.tar.gz").write_bytes(ARCHIVE)
    assert fetch(row) == str(zoo_folder / "mine" / "net.ckpt")
    assert (zoo_folder / "weights.tar.gz").read_bytes() == ARCHIVE  # the user's


def test_what_was_put_there_by_hand_is_checked_as_well(publish, server, zoo_folder):
    row = publish("mine", b"weights", "net.pth", digest="sha1:0123")
    zoo_folder.mkdir(parents=True)
    by_hand = zoo_folder / "net.pth"
    by_hand.write_bytes(b"other weights")
    with pytest.raises(ValueError, match=rf"not taken: its sha1 is .*Remove {by_hand}\."):
        fetch(row)
    assert left(zoo_folder) == ["net.pth"]
    fetch(publish("mine", b"", "net.pth"))
    assert left(zoo_folder) == ["mine", "net.pth", "net.pth"]
    assert not server.requests


def test_a_checkpoint_that_was_unpacked_by_hand_is_taken(publish, server, zoo_folder):
    row = publish("mine", b"")
    (zoo_folder / "mine").mkdir(parents=True)
    (zoo_folder / "mine" / "net.ckpt.index").touch()
    assert fetch(row) == str(zoo_folder / "mine" / "net.ckpt")
    assert not server.requests


def test_a_page_that_is_gone_is_said(publish, server, zoo_folder):
    row = publish("mine", ARCHIVE)
    server.answers.clear()
    with pytest.raises(ValueError, match=f"from {row.url}: the server answers 404 Not Found"):
        fetch(row)
    assert left(zoo_folder) == []


def test_an_archive_without_the_checkpoint_is_not_kept(publish, zoo_folder):
    row = publish("mine", archive({"README": b""}))
    with pytest.raises(ValueError, match=f"{row.url} is not taken: there is no checkpoint in it"):
        fetch(row)
    assert left(zoo_folder) == []


@pytest.fixture
def interruptible():
    """Makes SIGINT raise KeyboardInterrupt, also in a process of pytest-xdist, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_nothing_is_left_of_a_download_that_was_interrupted(publish, server, zoo_folder):
    main, gone = threading.main_thread().ident, threading.Event()
    row = publish(
        "mine",
        ARCHIVE,
        length=2 * len(ARCHIVE),
        then=lambda: signal.pthread_kill(main, signal.SIGINT) or (gone.wait(60) and b""),
    )
    with pytest.raises(KeyboardInterrupt):
        fetch(row)
    gone.set()
    assert left(zoo_folder) == []
    server.answers["/mine/weights.tar.gz"] = Answer(ARCHIVE)
    assert fetch(row)


def test_what_a_killed_process_left_is_removed_and_not_taken(publish, zoo_folder):
    row = publish("mine", ARCHIVE)
    torn = zoo_folder / "mine.0123abcd.incomplete"
    torn.mkdir(parents=True)
    (torn / "net.ckpt.index").touch()
    fetch(row)
    assert left(zoo_folder) == ["mine", *sorted(FILES)]


def test_of_two_at_once_one_downloads(publish, server, monkeypatch):
    begun, waits, go_on = threading.Event(), threading.Event(), threading.Event()
    said = []
    monkeypatch.setattr(
        locks, "print", lambda text, flush: said.append(text) or waits.set(), raising=False
    )

    def rest():
        begun.set()
        go_on.wait(60)
        return ARCHIVE[100:]

    row = publish("mine", ARCHIVE[:100], length=len(ARCHIVE), then=rest)
    with futures.ThreadPoolExecutor() as pool:  # a lock counts for threads as for processes
        paths = [pool.submit(fetch, row)]
        assert begun.wait(60)
        paths.append(pool.submit(fetch, row))
        assert waits.wait(60)
        go_on.set()
        assert paths[0].result() == paths[1].result()
    assert len(server.requests) == 1
    assert said == [f"zoo:mine: waiting for another process that writes {cache_folder()}"]


def test_where_files_cannot_be_locked_the_first_one_counts(publish, zoo_folder, monkeypatch):
    row = publish("mine", ARCHIVE)
    unpack = cache.unpack_checkpoint

    def and_another_is_sooner(*arguments):
        unpack(*arguments)
        (zoo_folder / "mine").mkdir()
        (zoo_folder / "mine" / "net.ckpt.index").write_bytes(b"first")

    monkeypatch.setattr(cache, "unpack_checkpoint", and_another_is_sooner)
    assert fetch(row) == str(zoo_folder / "mine" / "net.ckpt")
    assert left(zoo_folder) == ["mine", "net.ckpt.index"]
    assert (zoo_folder / "mine" / "net.ckpt.index").read_bytes() == b"first"


def test_a_folder_that_cannot_be_written_is_said(publish, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    with pytest.raises(
        ValueError, match=rf"zoo:mine cannot be kept in {tmp_path}/file/slimzoo: .*KERAS_HOME"
    ):
        fetch(publish("mine", ARCHIVE))


def test_a_full_disk_is_not_called_a_matter_of_the_network(publish, zoo_folder, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.keras.utils, "get_file", full)
    with pytest.raises(ValueError, match=r"cannot be kept in .*: No space left on device\. Free"):
        fetch(publish("mine", ARCHIVE))
    assert left(zoo_folder) == []


def test_a_folder_in_the_cache_without_a_checkpoint_is_said(publish, zoo_folder):
    (zoo_folder / "mine").mkdir(parents=True)
    with pytest.raises(ValueError, match=f"something is wrong with {zoo_folder}/mine: there is no"):
        fetch(publish("mine", ARCHIVE))


def test_a_path_in_the_cache_is_known(publish, zoo_folder, tmp_path):
    row = publish("mine", ARCHIVE)
    assert kept_checkpoint(fetch(row)) is row
    assert kept_checkpoint(str(tmp_path / "mine" / "net.ckpt")) is None
    assert kept_checkpoint(str(zoo_folder / "unknown" / "net.ckpt")) is None


def test_the_cache_is_where_keras_keeps_what_it_downloads(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == str(tmp_path / ".keras" / "slimzoo")
    monkeypatch.setenv("KERAS_HOME", "~/elsewhere")
    assert cache_folder() == str(tmp_path / "elsewhere" / "slimzoo")
