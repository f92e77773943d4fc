import io
import tarfile

import pytest
from published_files import archive

from training.zoo.archives import find_checkpoint_among, unpack_checkpoint

V2 = {"net.ckpt.index": b"index", "net.ckpt.data-00000-of-00001": b"data", "net.ckpt.meta": b"meta"}


@pytest.fixture
def unpacked(tmp_path):
    """`unpacked(content, wanted)`: the files that come out of an archive."""
    folder = tmp_path / "outer" / "folder"
    folder.mkdir(parents=True)

    def unpack(content, wanted="net.ckpt"):
        path = tmp_path / "archive"
        path.write_bytes(content)
        try:
            unpack_checkpoint(str(path), wanted, str(folder))
        finally:
            inside = {one for one in tmp_path.rglob("*") if one.is_relative_to(folder)}
            outside = set(tmp_path.rglob("*")) - inside - {path, folder.parent}
            assert not outside
        return {one.name: one.read_bytes() for one in folder.iterdir()}

    return unpack


def test_a_checkpoint_of_either_format_is_taken_without_what_lies_beside_it(unpacked):
    others = {"README": b"", "other.ckpt.index": b"", "net.ckpt.index.txt": b"", "net.pb": b""}
    assert unpacked(archive({**V2, **others})) == V2


def test_the_one_file_of_the_first_format_is_taken(unpacked):
    assert unpacked(archive({"./a/net.ckpt": b"all"})) == {"net.ckpt": b"all"}


def test_a_place_in_the_archive_tells_two_of_one_name_apart(unpacked):
    files = {f"v3/{folder}/net.ckpt.index": folder.encode() for folder in ("ema", "pristine")}
    assert unpacked(archive(files), "ema/net.ckpt") == {"net.ckpt.index": b"ema"}


@pytest.mark.parametrize("place", ["../../", "/tmp/", "a/../../../"])
def test_nothing_is_written_elsewhere(unpacked, place):
    files = {f"{place}{name}": content for name, content in V2.items()}
    assert unpacked(archive({f"{place}evil": b"evil", **files})) == V2


def test_links_are_not_followed(unpacked, tmp_path):
    (tmp_path / "outer" / "folder" / "kept").touch()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        link = tarfile.TarInfo("net.ckpt.data-00000-of-00001")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        index = tarfile.TarInfo("net.ckpt.index")
        tar.addfile(index, io.BytesIO())
    assert unpacked(stream.getvalue()) == {"kept": b"", "net.ckpt.index": b""}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (archive({"README": b""}), "there is no checkpoint in it"),
        (
            archive({"a.ckpt": b"", "b.ckpt.index": b""}),
            "it holds the checkpoints a.ckpt, b.ckpt, and not net.ckpt",
        ),
        (archive({"net.ckpt": bytes(range(256)) * 99})[:300], "it is no whole archive"),
        (b"<!doctype html><title>Sign in", r"it is no whole archive.*it begins with '<!doctype"),
        (b"", "it is no whole archive"),
    ],
    ids=["no checkpoint", "others", "torn", "a page", "empty"],
)
def test_what_is_wrong_is_said(unpacked, content, message):
    with pytest.raises(ValueError, match=message):
        unpacked(content)


def test_a_damaged_archive_is_told_from_a_full_disk(unpacked):
    content = bytearray(archive({"net.ckpt": bytes(100_000)}))
    content[-8] ^= 1  # the checksum at the end of what was compressed
    with pytest.raises(ValueError, match="it is no whole archive: CRC check failed"):
        unpacked(bytes(content))


def test_the_only_checkpoint_is_taken_whatever_it_is_called():
    assert find_checkpoint_among(["x/model.ckpt-7.index", "x/graph.pb"], "") == "x/model.ckpt-7"
    assert find_checkpoint_among(["x/model.ckpt-7.index"], "net.ckpt") == "x/model.ckpt-7"
    with pytest.raises(ValueError, match="and not a single one"):
        find_checkpoint_among(["a.index", "b.index"], "")
