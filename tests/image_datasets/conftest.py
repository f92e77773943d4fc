"""Data for the tests of image_datasets."""

import pathlib
import struct
import zlib

import pytest
from record_writers import write_flowers, write_labels, write_records

from image_datasets import shapes, tfds_source


def _tiny_png() -> bytes:
    """A valid 1x1 PNG, small enough to be written by the hundred."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    pixel = chunk(b"IDAT", zlib.compress(b"\0\xff\x00\x00"))
    return b"\x89PNG\r\n\x1a\n" + header + pixel + chunk(b"IEND", b"")


@pytest.fixture
def write_images(tmp_path):
    """Returns a function that writes small PNGs below tmp_path and returns tmp_path."""

    def write(*paths: str) -> pathlib.Path:
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(_tiny_png())
        return tmp_path

    return write


@pytest.fixture(scope="session")
def shapes_dir(tmp_path_factory) -> str:
    """A data_dir with the embedded dataset, of which a tenth is drawn: 200 and 50 images."""
    data_dir = str(tmp_path_factory.mktemp("shapes"))
    with pytest.MonkeyPatch.context() as context:
        context.setattr(shapes, "NUM_TRAIN_EXAMPLES", 200)
        context.setattr(shapes, "NUM_VALIDATION_EXAMPLES", 50)
        tfds_source.prepared_builder("shapes", data_dir)
    return data_dir


@pytest.fixture
def no_network(monkeypatch):
    """Makes every connection fail at once, proxies left out."""

    def refuse(address, *args, **kwargs):
        raise OSError(f"no route to {address}")

    monkeypatch.setattr("socket.create_connection", refuse)
    for name in ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def flowers(tmp_path):
    """A folder of the records that TF-Slim's script for flowers writes, of three colors."""
    return write_flowers(tmp_path / "flowers_records")


@pytest.fixture
def write_split(tmp_path):
    """`write_split(*records)`: writes records of one split, and returns their folder."""

    def write(*records, split="train", labels=("a", "b", "c"), compression=""):
        write_records(tmp_path / f"a_{split}.tfrecord", records, compression)
        if labels:
            write_labels(tmp_path, labels)
        return str(tmp_path)

    return write
