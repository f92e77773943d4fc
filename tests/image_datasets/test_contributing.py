import pathlib
import re

import pytest

from image_datasets import dataset_factory

CONTRIBUTING = pathlib.Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.fixture
def my_images(registries_restored, write_images):
    """The folder of the images that CONTRIBUTING.md lists; its source is registered."""
    text = CONTRIBUTING.read_text()
    (source,) = re.findall(r"```python\n(# my_images\.py\n.*?)```", text, re.DOTALL)
    (listed,) = re.findall(r"```\n(split,path,label\n.*?)```", text, re.DOTALL)
    exec(compile(source, str(CONTRIBUTING), "exec"), {})
    root = write_images("jpegs/1.jpg", "jpegs/2.jpg", "jpegs/3.jpg")
    (root / "labels.csv").write_text(listed)
    return root


def test_the_source_in_contributing_works_as_written(my_images):
    root = str(my_images)
    assert dataset_factory.class_names("my_images", root) == ("cat", "dog")
    assert dataset_factory.split_sizes("my_images", root) == {"train": 2, "validation": 1}
    assert dataset_factory.default_validation_split("my_images", root) == "validation"
    dataset = dataset_factory.get_dataset("my_images", "train[1:]+validation", root)
    rows = list(dataset.examples().as_numpy_iterator())
    assert [dataset.class_names[row["label"]] for row in rows] == ["dog", "cat"]
    assert [dataset.describe(row["index"]) for row in rows] == [
        f"{root}/jpegs/2.jpg", f"{root}/jpegs/3.jpg",
    ]  # fmt: skip
    assert all(row["image"].startswith(b"\x89PNG") for row in rows)
    assert dataset_factory.short_name("my_images", root) == my_images.name


def test_its_mistakes_are_answered_like_those_of_other_sources(my_images):
    with pytest.raises(ValueError, match=r"split of my_images 'trian'. Did you mean 'train'"):
        dataset_factory.get_dataset("my_images", "trian", str(my_images))
    with pytest.raises(ValueError, match="'my_images' needs --dataset_dir"):
        dataset_factory.get_dataset("my_images", "train")
    with pytest.raises(ValueError, match=r"Did you mean 'my_images'.* Known: folder, my_images"):
        dataset_factory.get_dataset("my_image", "train", str(my_images))
