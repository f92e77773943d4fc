import hashlib
import pathlib
import re

import pytest
import tensorflow as tf

from image_datasets import record_files
from image_datasets.record_files import (
    FileRecord,
    check_sizes,
    checksums_text,
    find_damage,
    measured,
    read_checksums,
)

LENGTHS = [5, 3]


@pytest.fixture
def shards(tmp_path):
    """Two files of records of seven bytes each, which TFRecord frames with 16 more."""
    paths = [tmp_path / f"a-train.tfrecord-0000{number}-of-00002" for number in range(2)]
    for path, length in zip(paths, LENGTHS, strict=True):
        with tf.io.TFRecordWriter(str(path)) as writer:
            for number in range(length):
                writer.write(b"record%d" % number)
    return paths


def cut(path, num_bytes):
    path.write_bytes(path.read_bytes()[:num_bytes])


def flip(path, position):
    contents = bytearray(path.read_bytes())
    contents[position] ^= 4
    path.write_bytes(contents)


def test_a_file_is_measured_and_told_of(shards):
    told = []
    record = measured(shards[0], told.append)
    assert record == FileRecord(5 * 23, hashlib.sha256(shards[0].read_bytes()).hexdigest())
    assert sum(told) == 5 * 23


def test_checksums_are_read_as_they_were_written(shards):
    folder = shards[0].parent
    assert read_checksums(folder) is None
    records = {path.name: measured(path) for path in shards}
    (folder / "checksums.tsv").write_text(checksums_text(records))
    assert read_checksums(folder) == records


@pytest.mark.parametrize(
    "contents",
    [
        *(b"", b"a", b"a\t1\n", b"a\tone\t" + b"0" * 64, b"a\t1\t" + b"0" * 63),
        *(b"a\t1\t" + b"x" * 64, b"\xff\t1\t" + b"0" * 64, b"../a\t1\t" + b"0" * 64),
    ],
)
def test_damaged_checksums_are_named(tmp_path, contents):
    (tmp_path / "checksums.tsv").write_bytes(contents)
    with pytest.raises(ValueError, match=r"checksums\.tsv is damaged: .* Remove .* prepare"):
        read_checksums(tmp_path)


def test_sizes_are_those_that_were_recorded(shards):
    folder = shards[0].parent
    text = checksums_text({path.name: measured(path) for path in shards})
    (folder / "checksums.tsv").write_text(text)
    check_sizes("a", shards, LENGTHS, 0)
    cut(shards[1], 40)
    with pytest.raises(
        ValueError, match=r"'a' is damaged: .*00001-of-00002 has 40 bytes, and had 69 .*Remove that"
    ):
        check_sizes("a", shards, LENGTHS, 0)
    (folder / "checksums.tsv").write_text(text.splitlines(keepends=True)[0])
    with pytest.raises(ValueError, match=r"checksums\.tsv does not list .*00001-of-00002"):
        check_sizes("a", shards, LENGTHS, 0)


@pytest.mark.parametrize("num_bytes", [8 * 7, 8 * 23])
@pytest.mark.parametrize("left", [0, 1, 23, 46, 68])
def test_without_checksums_a_file_that_was_cut_is_found_by_the_sum(shards, num_bytes, left):
    """TFDS keeps the bytes of records, earlier versions of `prepare_dataset` those of files."""
    check_sizes("a", shards, LENGTHS, num_bytes)
    cut(shards[1], left)
    with pytest.raises(ValueError, match=r"'a' is damaged: .*00001-of-00002 .* Remove"):
        check_sizes("a", shards, LENGTHS, num_bytes)


@pytest.mark.parametrize("num_bytes", [0, 3, 1000])
def test_a_sum_that_means_something_else_is_in_nobodys_way(shards, num_bytes):
    check_sizes("a", shards, LENGTHS, num_bytes)


def test_whole_files_have_no_damage(shards):
    assert find_damage(shards, LENGTHS) is None


@pytest.mark.parametrize("position", [0, 7, 9, 13, 22, 23 * 2 + 15, -1])
def test_a_flipped_bit_is_found_wherever_it_is(shards, position):
    flip(shards[1], position)
    damage = find_damage(shards, LENGTHS)
    assert re.match(
        re.escape(str(shards[1])) + r" cannot be read \((corrupted|truncated) record at \d+\)\. ",
        damage,
    )
    assert f"Remove {shards[1].parent} and prepare the dataset again." in damage


def test_records_that_are_missing_are_counted(shards):
    cut(shards[0], 4 * 23)
    assert f"{shards[0]} has 4 records, and should have 5." in find_damage(shards, LENGTHS)


@pytest.mark.parametrize(
    ("names", "remedy"),
    [
        ([], "Remove /data/a and prepare the dataset again."),
        (["preparation.json"], "Remove /data/a, and run the prepare_dataset command"),
        (["preparation.json", "checksums.tsv"], "Remove that file. The prepare_dataset comm"),
    ],
)
def test_the_remedy_is_that_of_who_wrote_the_files(tmp_path, names, remedy):
    for name in names:
        (tmp_path / name).touch()
    said = record_files.remedy(pathlib.Path(tmp_path, "shard"))
    assert remedy in said.replace(str(tmp_path), "/data/a")
