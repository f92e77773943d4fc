import dataclasses

import pytest

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
