import unicodedata

import pytest

from image_datasets.dataset_factory import default_validation_split, get_dataset
from image_datasets.folder_source import _fraction, scan_folder


def paths_of(root, split):
    dataset = get_dataset("folder", split, str(root))
    paths = [dataset.describe(index) for index in range(dataset.num_examples)]
    rows = list(dataset.examples().as_numpy_iterator())
    assert [row["index"] for row in rows] == list(range(dataset.num_examples))
    for path, row in zip(paths, rows, strict=True):
        relative = path[len(str(root)) + 1 :].split("/")
        assert dataset.class_names[row["label"]] in relative
        assert row["image"].startswith(b"\x89PNG")
    return paths


@pytest.fixture
def flat(write_images):
    return write_images(*(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(100)))


@pytest.fixture
def split(write_images):
    return write_images(
        *(f"train/{name}/{i}.png" for name in ("ant", "bee", "cow") for i in range(4)),
        *(f"val/{name}/{i}.png" for name in ("ant", "cow") for i in range(2)),
    )


def test_a_flat_folder_is_split_by_hash_without_overlap(flat):
    train, validation = paths_of(flat, "train"), paths_of(flat, "validation")
    assert not set(train) & set(validation)
    assert len(train) + len(validation) == 200
    assert 140 <= len(train) <= 180
    assert default_validation_split("folder", str(flat)) == "validation"


def test_files_stay_in_their_split_and_order_when_others_are_added(flat, write_images):
    before = paths_of(flat, "train"), paths_of(flat, "validation")
    added = {str(write_images(f"cat/new{i}.png") / f"cat/new{i}.png") for i in range(20)}
    after = paths_of(flat, "train"), paths_of(flat, "validation")
    assert [[path for path in paths if path not in added] for paths in after] == list(before)


def test_the_split_does_not_depend_on_where_the_folder_is(flat, tmp_path_factory):
    before = [path[len(str(flat)) :] for path in paths_of(flat, "train")]
    moved = flat.rename(tmp_path_factory.mktemp("elsewhere") / "photos")
    assert [path[len(str(moved)) :] for path in paths_of(moved, "train")] == before


def test_slices_cover_every_file_once_and_mix_classes(flat):
    first, rest = paths_of(flat, "train[:10%]"), paths_of(flat, "train[10%:]")
    assert first + rest == paths_of(flat, "train")
    assert 3 <= sum("/cat/" in path for path in first) <= len(first) - 3
    assert len(paths_of(flat, "train+validation")) == 200


def test_a_split_that_lacks_a_class_keeps_the_labels(split):
    for name in ("train", "val", "train+val"):
        dataset = get_dataset("folder", name, str(split))
        assert dataset.class_names == ("ant", "bee", "cow")
        paths_of(split, name)
    assert default_validation_split("folder", str(split)) == "val"


def test_a_class_that_training_lacks_is_an_error(split, write_images):
    write_images("val/bees/0.png")
    with pytest.raises(ValueError, match=r"val has classes that .*train lacks: bees\. Classes to"):
        get_dataset("folder", "train", str(split))


def test_only_images_count_and_what_does_not_is_named_once(write_images, capsys):
    root = write_images(
        "a/1.JPG", "a/deep/er/2.jpeg", "a/3.Bmp", "b/4.gif", "b/5.PNG",
        "a/.hidden.png", "a/.cache/6.png", ".git/7.png", "notes/readme.txt", "a/8.heic", "9.png",
        "notes/a.tiff", "b/10.WebP",
    )  # fmt: skip
    folder = scan_folder(str(root))
    assert folder.class_names == ("a", "b")
    assert sorted(row for rows in folder.files.values() for row in rows) == [
        ("a/1.JPG", 0), ("a/3.Bmp", 0), ("a/deep/er/2.jpeg", 0), ("b/10.WebP", 1), ("b/4.gif", 1),
        ("b/5.PNG", 1),
    ]  # fmt: skip
    scan_folder(str(root))
    assert capsys.readouterr().out == (
        f"Not used: 1 image outside the class folders in {root}, such as 9.png.\n"
        f"Not used: 3 files that end in .heic, .tiff, .txt in {root}, such as a/8.heic. "
        "Convert photos among them to JPEG or PNG.\n"
        f"Folders without images in {root}, which are no classes: notes.\n"
    )


# What is in a folder, the sizes of its splits and its classes, and what is said of it.
LAYOUTS = {
    "usual": (
        ["train/a/1.png", "train/b/1.png", "val/a/1.png", "test/b/1.png"],
        {"train": 2, "val": 1, "test": 1},
        "ab",
        "",
    ),
    "valid": (
        ["train/a/1.png", "train/b/1.png", "valid/a/1.png", "test/b/1.png"],
        {"train": 2, "validation": 1, "test": 1},
        "ab",
        "Splits in ROOT: train, valid as validation, test.",
    ),
    "other forms": (
        ["Training/a/1.png", "Training/b/1.png", "TESTING/a/1.png"],
        {"train": 2, "test": 1},
        "ab",
        "Splits in ROOT: Training as train, TESTING as test.",
    ),
    "other case": (
        ["Train/a/1.png", "Train/b/1.png", "Val/a/1.png"],
        {"train": 2, "val": 1},
        "ab",
        "Splits in ROOT: Train as train, Val as val.",
    ),
    "stray image beside a fourth folder": (
        ["train/a/1.png", "train/b/1.png", "train/c.png", "val/a/1.png", "test/a/1.png", "x/y.png"],
        {"train": 2, "val": 1, "test": 1},
        "ab",
        "Splits in ROOT: train, val, test. Not used beside them: x.\n"
        "Not used: 1 image outside the class folders in ROOT/train, such as train/c.png.",
    ),
    "a folder of anything else": (
        ["val/a/1.png", "val/b/1.png", "docs/notes.txt"],
        {"val": 2},
        "ab",
        "",
    ),
    "two that look like splits": (
        ["val/a/1.png", "val/b/1.png", "test/a/1.png", "test/b/1.png", "x/y.png"],
        {"val": 2, "test": 2},
        "ab",
        "Splits in ROOT: val, test. Not used beside them: x.",
    ),
    "train is a vehicle": (
        ["bus/1.png", "car/1.png", "train/1.png"],
        {"train": 3},
        ["bus", "car", "train"],
        "In ROOT, train is taken for a class like bus, car. "
        "If that is wrong, move bus, car elsewhere.",
    ),
    "and has a folder of old ones": (
        ["car/1.png", "train/1.png", "train/2.png", "train/old/3.png", "train/new/4.png"],
        {"train": 4, "validation": 1},
        ["car", "train"],
        "In ROOT, train is taken for a class like car. If that is wrong, move car elsewhere.",
    ),
    "tested and not": (
        ["test/s1/1.png", "test/s2/1.png", "control/s3/1.png", "control/s4/1.png"],
        {"train": 3, "validation": 1},
        ["control", "test"],
        "In ROOT, test is taken for a class like control. "
        "If that is wrong, move control elsewhere.",
    ),
    "splits of other names": (
        ["fold1/a/1.png", "fold1/b/1.png", "fold2/a/1.png", "fold2/b/1.png"],
        {"train": 4},
        ["fold1", "fold2"],
        "WARNING: fold1, fold2 of ROOT are taken for classes. If the folders in there (a, b) are "
        "the classes, give the folder around them as --dataset_dir, or call it train, and the one "
        "to validate on validation.",
    ),
    "splits of other names, as archives have them": (
        ["s1/s1/a/1.png", "s1/s1/b/1.png", "s2/s2/a/1.png", "s2/s2/b/1.png", "s3/s3/1.png"],
        {"train": 4, "validation": 1},
        ["s1", "s2", "s3"],
        "WARNING: s1, s2 of ROOT are taken for classes. If the folders in there (a, b) are "
        "the classes, give the folder around them as --dataset_dir, or call it train, and the one "
        "to validate on validation.",
    ),
    "a folder too far up": (
        ["pets/a/1.png", "pets/b/1.png", "notes.txt"],
        {"train": 2},
        ["pets"],
        "WARNING: pets of ROOT is taken for a class. If the folders in there (a, b) are "
        "the classes, give the folder around them as --dataset_dir, or call it train, and the one "
        "to validate on validation.",
    ),
    "folders of other names in classes": (
        [
            "cat/old/1.png",
            "cat/new/1.png",
            "dog/big/1.png",
            "dog/new/1.png",
            "ox/old/1.png",
            "ox/1.png",
        ],
        {"train": 5, "validation": 1},
        ["cat", "dog", "ox"],
        "",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_inside_tells_splits_from_classes(write_images, capsys, layout):
    paths, sizes, class_names, said = LAYOUTS[layout]
    root = write_images(*paths)
    folder = scan_folder(str(root))
    assert folder.class_names == tuple(class_names)
    assert {split: len(rows) for split, rows in folder.files.items()} == sizes
    assert capsys.readouterr().out.replace(str(root), "ROOT").strip() == said


def test_splits_are_asked_for_by_any_of_their_names(split, write_images):
    for name in ("val", "validation", "Valid", "dev"):
        assert get_dataset("folder", f"{name}[:2]", str(split)).num_examples == 2
    assert get_dataset("folder", "Training+VAL", str(split)).num_examples == 16


@pytest.mark.parametrize(
    "folders", [("valid", "validation"), ("Train", "train"), ("Val", "val"), ("dev", "validation")]
)
def test_two_folders_of_one_split_are_refused(write_images, folders):
    root = write_images(*(f"{folder}/{name}/1.png" for folder in folders for name in "ab"))
    with pytest.raises(
        ValueError, match=rf"two folders for the split .*: {folders[0]} and {folders[1]}"
    ):
        scan_folder(str(root))


def test_validation_and_val_remain_two_splits(write_images, capsys):
    """As runs of before were validated on either."""
    root = write_images("train/a/1.png", "train/b/1.png", "val/a/1.png", "validation/b/1.png")
    assert paths_of(root, "val") == [f"{root}/val/a/1.png"]
    assert paths_of(root, "validation") == [f"{root}/validation/b/1.png"]
    assert default_validation_split("folder", str(root)) == "validation"
    assert "has both validation and val, which are two splits" in capsys.readouterr().out


def test_a_split_that_is_a_link_to_another_is_said(write_images, capsys):
    root = write_images("train/a/1.png", "train/b/1.png")
    (root / "val").symlink_to("train")
    assert list(scan_folder(str(root)).files) == ["train", "val"]
    assert f"WARNING: train and val of {root} are the same folder." in capsys.readouterr().out


def test_a_class_that_training_lacks_is_named_with_its_folder(write_images):
    root = write_images("Training/a/1.png", "Training/b/1.png", "val/a/1.png", "validation/c/1.png")
    with pytest.raises(
        ValueError, match=rf"{root}/validation has classes that {root}/Training lac"
    ):
        scan_folder(str(root))


def test_an_empty_folder_of_the_same_split_does_no_harm(write_images):
    root = write_images("train/a/1.png", "train/b/1.png", "Training/notes.txt")
    assert list(scan_folder(str(root)).files) == ["train"]


def test_every_class_of_a_flat_folder_is_trained_on(write_images):
    """Also those whose files the hash would put into validation, of which a fifth are single."""
    root = write_images(
        *(f"{number}/{i}.png" for number in range(60) for i in range(1 + number % 2))
    )
    dataset = get_dataset("folder", "train", str(root))
    assert dataset.absent_classes == ()
    # The one that is moved is the next to be in training, so that it is there for good.
    rows = scan_folder(str(root)).files["train"]
    moved = [path for path, _ in rows if _fraction(path) >= 0.8]
    assert moved
    for path in moved:
        others = (root / path).parent.glob("*.png")
        assert _fraction(path) == min(
            _fraction(f"{path.split('/')[0]}/{one.name}") for one in others
        )


def test_accents_of_both_spellings_are_one_class_of_all_splits(write_images):
    one, two = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    root = write_images(f"train/{one}/1.png", "train/b/1.png", f"val/{two}/2.png")
    assert scan_folder(str(root)).class_names == ("b", one)
    dataset = get_dataset("folder", "val", str(root))
    assert dataset.describe(0) == f"{root}/val/{two}/2.png"
    (row,) = dataset.examples()
    assert (int(row["label"]), row["image"].numpy()[:4]) == (1, b"\x89PNG")


@pytest.mark.parametrize(
    "name", ["[a]", "a[1]*?", "back\\slash", "#%20", "a:b", "two\nlines", "{a,b}"]
)
def test_the_path_of_a_folder_is_no_pattern(write_images, name):
    root = write_images(f"{name}/[x]/1.png", f"{name}/*/1.png", f"{name}/*/\\[0].png", "x/x/2.png")
    root = root / name
    dataset = get_dataset("folder", "all", str(root))
    assert dataset.class_names == ("*", "[x]")
    assert {row["image"][:4] for row in dataset.examples().as_numpy_iterator()} == {b"\x89PNG"}
    assert dataset.num_examples == 3


def test_a_test_folder_alone_can_be_evaluated(write_images):
    root = write_images("test/a/1.png", "test/b/1.png")
    assert len(paths_of(root, "test")) == 2


def test_unlabelled_test_images_do_not_keep_from_training(write_images):
    root = write_images("train/a/1.png", "train/b/1.png", "test/1.png")
    assert len(paths_of(root, "train")) == 2
    with pytest.raises(ValueError, match="Known: train"):
        get_dataset("folder", "test", str(root))


def test_a_link_to_its_own_parent_ends(write_images):
    root = write_images("a/1.png", "b/1.png")
    (root / "a" / "again").symlink_to(root / "a")
    files = scan_folder(str(root)).files
    assert sorted(path for rows in files.values() for path, _ in rows) == ["a/1.png", "b/1.png"]


def test_the_dataset_works_inside_flat_map(split):
    import tensorflow as tf

    dataset = get_dataset("folder", "train", str(split))
    epochs = tf.data.Dataset.range(2).flat_map(lambda _: dataset.examples())
    assert [int(row["index"]) for row in epochs] == [*range(12), *range(12)]


def test_errors_say_what_was_given_and_what_is_accepted(tmp_path, write_images):
    with pytest.raises(ValueError, match="needs --dataset_dir"):
        get_dataset("folder", "train")
    with pytest.raises(ValueError, match=r"The folder .*missing does not exist"):
        get_dataset("folder", "train", str(tmp_path / "missing"))
    with pytest.raises(ValueError, match=r"no class folders with images in .*jpg, jpeg, png"):
        get_dataset("folder", "train", str(tmp_path))
    write_images("loose.png", "train/loose.png")
    with pytest.raises(ValueError, match="no class folders with images"):
        get_dataset("folder", "train", str(tmp_path))
    with pytest.raises(ValueError, match="is a file"):
        get_dataset("folder", "train", str(tmp_path / "loose.png"))


def test_an_unknown_split_names_those_that_exist(split):
    with pytest.raises(ValueError, match=r"'vall'. Did you mean 'val'\? Known: train, val"):
        get_dataset("folder", "vall", str(split))


def test_stored_examples_begin_anywhere(flat):
    dataset = get_dataset("folder", "train", str(flat))
    rows = list(dataset.stored_examples(3).as_numpy_iterator())
    assert [row["index"] for row in rows] == list(range(3, dataset.num_examples))
    for row in rows:
        assert f"/{dataset.class_names[row['label']]}/" in dataset.describe(row["index"])


def test_a_folder_of_records_is_recognized(tmp_path):
    (tmp_path / "flowers_train_00000-of-00001.tfrecord").touch()
    with pytest.raises(ValueError, match=r"no class folders.* records: give --dataset_name=tfr"):
        get_dataset("folder", "train", str(tmp_path))
