import hashlib
import re

import pytest

from nets.registry import networks
from preprocessing.preprocessing_factory import PREPROCESSINGS
from slimzoo_registry import UnknownNameError
from training.zoo.table import PublishedCheckpoint, named_checkpoint, published_checkpoints

# These are the original's networks that its authors never published weights of.
UNPUBLISHED = {"vgg_a", "overfeat", "resnet_v1_200", "resnet_v2_200", "nasnet_cifar"}


@pytest.mark.parametrize("name", published_checkpoints)
def test_a_row_fits_the_network_that_it_names(name):
    row = published_checkpoints[name]
    network = networks[row.network]
    assert set(row.network_options) <= set(network.options)
    assert row.image_size >= network.minimum_image_size
    assert row.image_size == network.default_image_size or not network.takes_one_size
    assert row.num_classes == network.num_classes
    assert row.preprocessing is None or row.preprocessing in PREPROCESSINGS


@pytest.mark.parametrize("name", published_checkpoints)
def test_a_row_is_whole(name):
    row = published_checkpoints[name]
    assert row.name == name
    assert row.url.startswith(("http://", "https://"))
    assert row.source.startswith("https://")
    assert row.license
    assert re.fullmatch(r"(\d{4}-\d\d-\d\d)?", row.date)
    assert 40 < row.top_1 < 83
    assert row.top_5 is None or row.top_1 < row.top_5 < 97
    if row.digest:
        algorithm, digest = row.digest.split(":")
        assert len(digest) <= hashlib.new(algorithm).digest_size * 2
        assert set(digest) <= set("0123456789abcdef")


@pytest.mark.parametrize("name", published_checkpoints)
def test_a_name_says_its_width_and_size(name):
    """Of families with several, what the name says is what the network is built with."""
    row = published_checkpoints[name]
    if not (said := re.fullmatch(r"(mobilenet_.+)_(\d\.\d+)_(\d+)", name)):
        assert name == row.network
        return
    family, width, size = said[1], float(said[2]), int(said[3])
    assert row.network.startswith(family)
    assert row.image_size == size
    in_name = re.search(r"_(\d\d\d)$", row.network)
    default = int(in_name[1]) / 100 if in_name else 1.0
    assert row.network_options.get("depth_multiplier", default) == width


def test_no_file_is_there_twice():
    urls = [row.url for row in published_checkpoints.values()]
    assert len(set(urls)) == len(urls) == 66


def test_every_network_that_has_published_weights_is_there():
    families = ("vgg", "inception", "resnet", "mobilenet", "nasnet", "pnasnet", "overfeat")
    of_tf_slim = {name for name in networks if name.startswith(families)}
    published = {row.network for row in published_checkpoints.values()}
    assert of_tf_slim - UNPUBLISHED <= published
    assert not published & UNPUBLISHED
    assert published - of_tf_slim == {"bvlc_alexnet", "caffenet", "alexnet_torchvision"}


def test_a_name_is_looked_up_and_a_path_is_left_alone():
    assert named_checkpoint("zoo:vgg_16").network == "vgg_16"
    assert named_checkpoint("zoo/vgg_16") is None
    assert named_checkpoint(None) is None


def test_an_unknown_name_brings_a_close_one():
    with pytest.raises(UnknownNameError, match="There are inception_v3, inception_v"):
        named_checkpoint("zoo:inception-v3")
    with pytest.raises(UnknownNameError, match="There are some of alexnet_torchvision, bvlc_al"):
        named_checkpoint("zoo:ghost")


def test_of_a_network_that_was_published_in_several_sizes_they_are_listed():
    with pytest.raises(ValueError, match="Of the network mobilenet_v1_050 there are mobilenet_v1_"):
        named_checkpoint("zoo:mobilenet_v1_050")


def test_a_user_can_add_one():
    with published_checkpoints.restored():
        row = PublishedCheckpoint(
            name="mine", network="tiny", url="http://x/a%20b.tgz?x=1", image_size=32, num_classes=3
        )
        published_checkpoints.register("mine")(row)
        assert named_checkpoint("zoo:mine") is row
        assert row.file_name == "a%20b.tgz"
    with pytest.raises(UnknownNameError):
        named_checkpoint("zoo:mine")


def test_another_network_is_refused():
    published_checkpoints["caffenet"].check_network("caffenet")
    with pytest.raises(ValueError, match="of caffenet, and not of alexnet: give --model_name=c"):
        published_checkpoints["caffenet"].check_network("alexnet")
