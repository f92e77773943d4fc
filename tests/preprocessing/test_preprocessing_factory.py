import dataclasses

import numpy as np
import pytest

from nets.registry import networks
from preprocessing import preprocessing_factory
from preprocessing.base import PREPROCESSINGS, Preprocessing


def test_the_built_in_pipelines_are_registered():
    assert {"alexnet", "cifar"} <= set(PREPROCESSINGS)


@pytest.mark.parametrize("name", PREPROCESSINGS)
@pytest.mark.parametrize("is_training", [False, True])
def test_a_pipeline_is_a_frozen_dataclass_in_its_mode(name, is_training):
    pipeline = preprocessing_factory.get_preprocessing(name, is_training)
    assert pipeline.is_training is is_training
    with pytest.raises(dataclasses.FrozenInstanceError):
        pipeline.is_training = True


def test_an_unknown_name_gets_the_nearest_and_all_that_exist():
    with pytest.raises(ValueError, match=r"'alexnat'.*Did you mean 'alexnet'.*cifar"):
        preprocessing_factory.get_preprocessing("alexnat")


def test_an_unknown_option_gets_the_nearest_and_all_that_exist():
    with pytest.raises(ValueError, match=r"'resize'.*Did you mean 'resize_side'.*mean_rgb"):
        preprocessing_factory.get_preprocessing("alexnet", resize=256)


def test_a_duplicate_name_raises():
    with pytest.raises(ValueError, match="'alexnet' is registered already"):
        preprocessing_factory.register_preprocessing("alexnet")(Preprocessing)


def test_options_reach_the_pipeline():
    pipeline = preprocessing_factory.get_preprocessing("alexnet", True, resize_side=300)
    assert pipeline.resize_side == 300


def test_options_that_are_files_say_under_which_name_a_run_keeps_them():
    for name in ("alexnet_2012", "caffe", "cuda_convnet"):
        assert preprocessing_factory.file_options(name) == {"mean_image": "mean_image.npy"}
        assert preprocessing_factory.get_options(name)["mean_image"] is None
    assert preprocessing_factory.file_options("alexnet") == {}


@pytest.mark.parametrize(
    ("inherited", "given", "expected"),
    [
        ({"mean_image": "a.npy"}, {}, {"mean_image": "a.npy"}),
        ({"mean_image": "a.npy"}, {"mean_rgb": (1, 2, 3)}, {"mean_rgb": (1, 2, 3)}),
        ({"mean_image": "a.npy"}, {"mean_image": None}, {"mean_image": None}),
        (
            {"mean_image": "a.npy"},
            {"mean_rgb": (1, 2, 3), "mean_image": "b.npy"},
            {"mean_rgb": (1, 2, 3), "mean_image": "b.npy"},
        ),
        (
            {"mean_rgb": (1, 2, 3), "image_side": 36},
            {"mean_image": "b.npy"},
            {"mean_rgb": (1, 2, 3), "image_side": 36, "mean_image": "b.npy"},
        ),
    ],
)
def test_a_mean_that_is_given_wins_over_an_inherited_mean_image(inherited, given, expected):
    before = dict(inherited), dict(given)
    assert preprocessing_factory.merge_options("cuda_convnet", inherited, given) == expected
    assert (inherited, given) == before


def test_options_that_do_not_exist_are_not_merged():
    for options in (({"mean_rbg": 1}, {}), ({}, {"mean_rbg": 1})):
        with pytest.raises(ValueError, match=r"'mean_rbg'.*Did you mean 'mean_rgb'"):
            preprocessing_factory.merge_options("alexnet", *options)


@pytest.mark.usefixtures("registries_restored")
def test_a_pipeline_of_ones_own_can_have_options_that_are_files():
    @preprocessing_factory.register_preprocessing("lookup")
    @dataclasses.dataclass(frozen=True)
    class Lookup(PREPROCESSINGS["cifar"]):
        table: str | None = preprocessing_factory.file_option("table.csv")

    assert preprocessing_factory.file_options("lookup") == {"table": "table.csv"}
    merged = preprocessing_factory.merge_options("lookup", {"table": "a.csv"}, {"padding": 2})
    assert merged == {"table": "a.csv", "padding": 2}
    assert preprocessing_factory.get_preprocessing("lookup", **merged).table == "a.csv"


RENAMED = {
    "colour_noise_scale": ("color_noise_scale", 0.0),
    "colour_deviations": ("color_deviations", [3.0, 2.0, 1.0]),
    "colour_components": ("color_components", [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
}


@pytest.mark.parametrize("old_name", RENAMED)
@pytest.mark.parametrize("pipeline", ["alexnet", "alexnet_2012"])
def test_an_option_can_be_given_by_its_old_name(pipeline, old_name):
    name, value = RENAMED[old_name]
    assert name in preprocessing_factory.get_options(pipeline)
    assert old_name not in preprocessing_factory.get_options(pipeline)
    assert preprocessing_factory.current_option_name(pipeline, old_name) == name
    expected = preprocessing_factory.get_preprocessing(pipeline, **{name: value})
    assert getattr(expected, name) == value
    # As a model.json of old has them.
    assert preprocessing_factory.get_preprocessing(pipeline, **{old_name: value}) == expected
    unchanged = preprocessing_factory.get_preprocessing(pipeline)
    assert unchanged.replace(**{old_name: value}) == expected
    assert preprocessing_factory.merge_options(pipeline, {old_name: 7}, {name: value}) == {
        name: value
    }
    assert preprocessing_factory.merge_options(pipeline, {name: 7}, {old_name: value}) == {
        name: value
    }


def test_an_old_name_counts_for_one_call_too():
    pipeline = preprocessing_factory.get_preprocessing("alexnet", True, mean_rgb=(0, 0, 0))
    image = np.full((256, 256, 3), 7, np.uint8)
    assert (pipeline(image, 224, 224, seed=[1, 2], colour_noise_scale=0).numpy() == 7).all()


def test_the_old_and_the_new_name_of_one_option_are_one_too_many():
    both = {"color_noise_scale": 0.1, "colour_noise_scale": 0.1}
    pipeline = preprocessing_factory.get_preprocessing("alexnet")
    for options in (both, dict(reversed(both.items()))):
        for give in (
            lambda **options: preprocessing_factory.get_preprocessing("alexnet", **options),
            lambda **options: preprocessing_factory.merge_options("alexnet", {}, options),
            pipeline.replace,
        ):
            with pytest.raises(ValueError, match="colour_noise_scale and color_noise_scale are bo"):
                give(**options)


def test_names_that_were_not_renamed_stay_as_they_are():
    assert preprocessing_factory.current_option_name("alexnet", "mean_rgb") == "mean_rgb"
    assert preprocessing_factory.current_option_name("alexnet", "mean_rbg") == "mean_rbg"
    assert preprocessing_factory.current_option_name("caffe", "colour_noise_scale") == (
        "colour_noise_scale"
    )
    with pytest.raises(ValueError, match="option of CaffePreprocessing 'colour_noise_scale'"):
        preprocessing_factory.get_preprocessing("caffe", colour_noise_scale=0)


TF_SLIMS = [
    name
    for name in networks
    if name.startswith(("inception", "mobilenet", "nasnet", "pnasnet", "resnet", "vgg"))
]


@pytest.mark.parametrize("network", TF_SLIMS)
def test_a_network_of_tf_slim_names_its_pipeline(network):
    name = networks[network].preprocessing_name
    assert preprocessing_factory.pipeline_name(network) == name
    assert type(preprocessing_factory.get_preprocessing(network)) is PREPROCESSINGS[name]
    assert preprocessing_factory.pipeline_name(name) == name


def test_a_name_that_is_none_is_left_for_the_registry_to_refuse():
    assert len(TF_SLIMS) > 30
    assert preprocessing_factory.pipeline_name("resnext_50") == "resnext_50"
