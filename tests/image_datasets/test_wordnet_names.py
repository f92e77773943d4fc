import re
import subprocess
import sys

import pytest

from image_datasets import dataset_factory
from image_datasets.wordnet_names import description, imagenet_names, readable_name


def test_there_are_a_thousand_ids_in_the_order_of_tfds():
    ids = tuple(imagenet_names())
    assert len(ids) == 1000
    assert ids == dataset_factory.class_names("imagenet2012")


def test_every_class_has_a_name_in_words():
    for class_id, name in imagenet_names().items():
        assert re.fullmatch(r"n\d{8}", class_id)
        assert re.fullmatch(r"[A-Za-z][A-Za-z .'-]*[A-Za-z]", name), (class_id, name)


# The outputs of published networks, by TF-Slim's and Keras' lists of labels.
@pytest.mark.parametrize(
    ("label", "name"),
    [
        (0, "tench"), (1, "goldfish"), (7, "cock"), (134, "crane"), (151, "Chihuahua"),
        (207, "golden retriever"), (254, "pug"), (264, "Cardigan"), (281, "tabby"),
        (282, "tiger cat"), (285, "Egyptian cat"), (292, "tiger"), (340, "zebra"),
        (388, "giant panda"), (404, "airliner"), (430, "basketball"), (474, "cardigan"),
        (508, "computer keyboard"), (517, "crane"), (574, "golf ball"), (638, "maillot"),
        (639, "maillot"), (657, "missile"), (701, "parachute"), (744, "projectile"),
        (792, "shovel"), (817, "sports car"), (836, "sunglass"), (837, "sunglasses"),
        (920, "traffic light"), (949, "strawberry"), (954, "banana"), (963, "pizza"),
        (985, "daisy"), (999, "toilet tissue"),
    ],
)  # fmt: skip
def test_names_are_those_of_published_lists(label, name):
    assert list(imagenet_names().values())[label] == name


# What imagenette's documentation calls its classes.
@pytest.mark.parametrize(
    ("class_id", "name"),
    [
        ("n01440764", "tench"), ("n02102040", "English springer"), ("n02979186", "cassette player"),
        ("n03000684", "chain saw"), ("n03028079", "church"), ("n03394916", "French horn"),
        ("n03417042", "garbage truck"), ("n03425413", "gas pump"), ("n03445777", "golf ball"),
        ("n03888257", "parachute"),
    ],
)  # fmt: skip
def test_an_id_is_followed_by_its_name(class_id, name):
    assert readable_name(class_id) == f"{class_id} {name}"
    assert description(class_id) == name


@pytest.mark.parametrize("name", ["cat", "", "n0420821", "n99999999", "n04208210 shovel", "日本"])
def test_other_names_stay_as_they_are(name):
    assert readable_name(name) == description(name) == name


def test_it_does_without_tensorflow():
    program = (
        "import sys; from image_datasets.wordnet_names import readable_name;"
        "print(readable_name('n04208210'), 'tensorflow' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert shown.stdout.decode().split("\n")[0].strip() == "n04208210 shovel False"
