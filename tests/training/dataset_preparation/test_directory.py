"""A prepared directory by itself: its files are empty here, and nothing is read from images."""

import json
import pathlib

import numpy as np
import pytest

from image_datasets.record_files import measured, read_checksums
from training.dataset_preparation.directory import PreparedDirectory

SPLITS = {"train": 30, "validation": 21}


@pytest.fixture
def directory(plan, tmp_path):
    """`directory(name=value)`: planned otherwise in what is named, and always the same folder."""
    return lambda **values: PreparedDirectory(
        str(tmp_path / "prepared"), plan(values.pop("splits", SPLITS), **values)
    )


def begin(directory):
    with directory.being_written():
        for split in directory.plan.splits:
            for shard in directory.shards(split):
                shard.sums_path.parent.mkdir(exist_ok=True)
                shard.path.write_text(shard.path.name)
                record = measured(shard.path)._asdict()
                np.savez(shard.sums_path, **{key: np.array(value) for key, value in record.items()})


def finish(directory):
    begin(directory)
    directory.finish({"train": ["a.jpg"], "validation": []})


def files_of(folder):
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in pathlib.Path(folder).rglob("*")
        if path.is_file()
    }


def test_shards_divide_a_split_in_its_order(directory):
    shards = directory().shards("validation")
    assert [(shard.start, shard.stop) for shard in shards] == [(0, 8), (8, 16), (16, 21)]
    assert shards[1].path.name == "photos_test-validation.tfrecord-00001-of-00003"
    assert directory(splits={"train": 16}).shards("train")[-1].stop == 16


def test_a_shard_counts_once_all_before_it_are_complete(directory):
    one = directory()
    begin(one)
    assert one.num_complete("train") == 4
    one.shards("train")[1].sums_path.unlink()
    assert one.num_complete("train") == 1
    assert one.num_complete("validation") == 3
    one.shards("validation")[0].path.unlink()
    assert one.num_complete("validation") == 0


def test_a_shard_that_was_cut_meanwhile_or_has_torn_sums_is_not_complete(directory):
    one = directory()
    begin(one)
    shards = one.shards("train")
    shards[2].path.write_bytes(b"cut")
    assert one.num_complete("train") == 2
    shards[1].sums_path.write_bytes(shards[1].sums_path.read_bytes()[:30])
    assert one.num_complete("train") == 1
    np.savez(shards[1].sums_path, skipped=np.zeros(0))  # as an earlier version wrote them
    assert one.num_complete("train") == 2


def test_finished_it_has_its_name_and_says_what_was_left_out(directory):
    one = directory()
    begin(one)
    assert not one.is_finished()
    (one.incomplete / "x.tfrecord-00000-of-00001.incomplete").touch()
    one.finish({"train": ["a.jpg"], "validation": []})
    assert one.is_finished()
    assert not one.incomplete.exists()
    names = {path.name for path in one.folder.iterdir()}
    assert len(names) == 4 + 3 + 2
    # And neither sums nor what a killed process left.
    assert {"preparation.json", "checksums.tsv"} < names
    assert one.skipped_images() == {"train": ["a.jpg"], "validation": []}


@pytest.mark.parametrize("is_finished", [True, False])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size": 40}, "image_size: 36 there, 40 asked for"),
        (
            {"encoding": "jpeg", "jpeg_quality": 95},
            'encoding: "raw" there, "jpeg" asked for\n  jpeg_quality: null there, 95',
        ),
        ({"splits": {"train": 30}}, "splits: .* there, .*train.* asked for"),
        ({"dataset_dir": "/elsewhere"}, 'dataset_dir: null there, "/elsewhere" asked for'),
    ],
)
def test_other_parameters_are_refused(directory, tmp_path, is_finished, values, message):
    (finish if is_finished else begin)(directory())
    before = files_of(tmp_path)
    state = "a dataset" if is_finished else "an unfinished dataset"
    with pytest.raises(ValueError, match=f"(?s)holds {state}.*{message}.*another --prepared_name"):
        directory(**values).is_finished()
    assert files_of(tmp_path) == before


LOST = "photos_test-train.tfrecord-00002-of-00004"


def test_files_that_are_lost_are_known_with_what_is_in_them(directory):
    finish(directory())
    one = directory()
    assert one.lost_shards() == {}
    (one.folder / LOST).unlink()
    ((split, (shard,)),) = one.lost_shards().items()
    assert (split, shard.path, shard.start) == ("train", one.folder / LOST, 16)
    with pytest.raises(ValueError, match=f"is damaged: {LOST} is not there.*Remove that folder"):
        one.verify()


def test_without_checksums_a_lost_file_is_not_written_again(directory):
    """As earlier versions prepared datasets."""
    finish(directory())
    one = directory()
    (one.folder / "checksums.tsv").unlink()
    assert one.is_finished()
    assert one.lost_shards() == {}
    assert "no checksums" in one.verify()
    (one.folder / LOST).unlink()
    with pytest.raises(ValueError, match=rf"is damaged: {LOST} is not there.*Remove that folder"):
        one.lost_shards()


def test_checksums_are_of_all_files_and_are_compared(directory):
    one = directory()
    begin(one)
    (one.incomplete / "mean_image.npy").write_bytes(b"pixels")
    one.finish({"train": [], "validation": []})
    recorded = read_checksums(one.folder)
    assert set(recorded) == {path.name for path in one.folder.iterdir()} - {
        "preparation.json",
        "checksums.tsv",
    }
    assert all(measured(one.folder / name) == record for name, record in recorded.items())
    assert one.verify().startswith("Its 8 files (0.0 MB) have the checksums")


@pytest.mark.parametrize("name", [LOST, "mean_image.npy"])
@pytest.mark.parametrize("change", [lambda old: old[:3], lambda old: b"!" + old[1:], lambda _: b""])
def test_a_file_that_is_not_as_it_was_written_is_named_with_the_remedy(directory, name, change):
    one = directory()
    begin(one)
    (one.incomplete / "mean_image.npy").write_bytes(b"pixels")
    one.finish({"train": [], "validation": []})
    path = one.folder / name
    path.write_bytes(change(path.read_bytes()))
    what = "file, and the same command writes it" if name == LOST else "folder, and the same comm"
    with pytest.raises(ValueError, match=f"{name}.* not as it was written. Remove that {what}"):
        one.verify()


def test_a_lost_file_that_became_another_is_removed_again(directory):
    finish(directory())
    one = directory()
    (one.folder / LOST).unlink()
    ((_, (shard,)),) = one.lost_shards().items()
    shard.path.write_bytes(b"other")
    shard.sums_path.parent.mkdir()
    record = measured(shard.path)._asdict()
    np.savez(shard.sums_path, **{key: np.array(value) for key, value in record.items()})
    with pytest.raises(ValueError, match="cannot be written again as it was: the images, or"):
        one.check_rewritten(shard)
    assert not shard.path.exists()
    one.remove_temporary_files()
    assert not shard.sums_path.parent.exists()


def test_what_a_full_disk_left_of_the_plan_is_in_nobodys_way(directory):
    one = directory()
    one.incomplete.mkdir(parents=True)
    (one.incomplete / "preparation.json.incomplete").write_text("")
    assert not one.is_finished()
    finish(one)
    assert one.is_finished()


def test_a_folder_of_someone_else_is_not_touched(directory):
    one = directory()
    one.folder.mkdir(parents=True)
    (one.folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="was not made by prepare_dataset, which overwrites noth"):
        one.is_finished()
    assert [path.name for path in one.folder.iterdir()] == ["notes.txt"]


def test_two_at_a_time_do_not_write_into_each_other(directory):
    with directory().being_written():
        with (
            pytest.raises(ValueError, match=r"Another process is writing .*incomplete"),
            directory().being_written(),
        ):
            pass
        assert not directory().is_finished()


def test_a_folder_that_cannot_be_made_is_named(directory, tmp_path):
    (tmp_path / "prepared").write_text("a file")
    with (
        pytest.raises(OSError, match=r"--output_dir: the folder .*cannot be created: Not a dir"),
        directory().being_written(),
    ):
        pass


def test_a_plan_that_is_damaged_is_named(directory):
    finish(directory())
    (directory().folder / "preparation.json").write_text('{"image_size":')
    with pytest.raises(ValueError, match=r"preparation\.json is damaged: .*Remove its folder"):
        directory().is_finished()


@pytest.mark.parametrize(
    "contents",
    [
        *(b"", b"[]", b"\xff", b"3", b"[" * 100_000, b'{"image_size": NaN}'),
        *(b'{"skipped_images": []}', b'{"skipped_images": {"train": 3}}'),
        b'{"is_complete": "yes"}',
    ],
)
def test_whatever_a_plan_holds_it_is_named(directory, contents):
    finish(directory())
    path = directory().folder / "preparation.json"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=r"preparation\.json is damaged: .*Remove its folder"):
        directory().is_finished()


def test_interrupted_while_it_tidies_up_it_needs_no_more_than_that(directory, monkeypatch):
    one = directory()
    begin(one)

    def interrupt(path, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("training.dataset_preparation.directory.shutil.rmtree", interrupt)
        with pytest.raises(KeyboardInterrupt):
            one.finish({"train": ["a.jpg"], "validation": []})
    again = directory()
    assert not again.is_finished()
    assert again.needs_finishing_only()
    again.finish({})  # what was left out is known already
    assert again.is_finished()
    assert again.skipped_images()["train"] == ["a.jpg"]


def test_the_statistics_are_those_of_train_or_else_of_the_first_split(plan):
    assert plan({"test": 3, "train": 30}).training_split == "train"
    assert plan({"test": 3, "other": 30}).training_split == "test"


def test_the_plan_is_kept_as_json_that_says_all(directory):
    finish(directory())
    document = json.loads((directory().folder / "preparation.json").read_text())
    assert document["splits"] == SPLITS
    assert document["class_names"] == ["blue", "green", "red"]
    assert document["is_complete"] is True
