"""Each recipe against the flags, networks and pipelines that there are."""

import functools
import pathlib

import keras
import pytest
import tf_slim_drivers
from absl import flags

from nets.nets_factory import get_network_fn, networks
from preprocessing import preprocessing_factory
from slimzoo.commands.train_image_classifier import check_names
from slimzoo.configuration import TrainingConfig
from slimzoo.flags import define_flags, parse_options, read_flags, settings
from training.learning_rates import LearningRate, LearningRateSettings
from training.variable_factors import VariableFactors

RECIPES = sorted((pathlib.Path(__file__).parents[1] / "recipes").glob("*.flags"))


@functools.cache
def variable_names(model_name):
    with keras.StatelessScope(initialize_variables=False):  # names alone, in no time
        return list(get_network_fn(model_name, 10).variables)


def test_recipes_are_found():
    assert len(RECIPES) >= 10


def read(recipe):
    values = flags.FlagValues()
    define_flags(TrainingConfig, values)
    values(["train", f"--flagfile={recipe}"])
    return read_flags(TrainingConfig, values)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_names_what_exists(recipe):
    config = read(recipe)
    check_names(config)
    network = networks[config.model_name]
    config = config.with_defaults(network.hyperparameters)
    name = config.preprocessing_name or network.preprocessing_name
    options = parse_options(
        "preprocessing_options",
        config.preprocessing_options,
        preprocessing_factory.get_options(name),
    )
    preprocessing_factory.get_preprocessing(name, True, **options)
    parse_options("network_options", config.network_options, network.options)
    variables = variable_names(config.model_name)
    VariableFactors("learning_rate_factors", config.learning_rate_factors, variables)
    VariableFactors("weight_decay_factors", config.weight_decay_factors, variables)
    assert LearningRate(settings(LearningRateSettings, config), 10, num_steps=1000)(5) > 0
    text = recipe.read_text()
    assert f"--flagfile=recipes/{recipe.name}" in text  # the command that it opens with


@pytest.mark.parametrize(
    ("recipe", "variable", "rates"),
    [
        # Epochs 67, 72 and 79 of the network's 91 in the released log.
        ("alexnet_2012_imagenet2012", "fc8/weights", {0: 1e-2, 25: 1e-3, 51: 1e-4}),
        ("alexnet_2012_imagenet2012", "fc8/biases", {0: 2e-2, 25: 2e-3, 51: 2e-4}),
        ("alexnet_2012_imagenet2012_end", "conv1/weights", {0: 1e-5, 5: 0, 12: 0}),
        ("alexnet_2012_imagenet2012_end", "fc8/weights", {0: 1e-4, 5: 1e-4, 12: 1e-5}),
        ("alexnet_owt_imagenet2012", "fc8/weights", {0: 1e-2, 89: 1e-2 / 250}),
        ("alexnet_owt_imagenet2012", "fc8/biases", {0: 0.02, 30: 0.02, 50: 0.002, 89: 0.002}),
        # Those of the fully connected layers, which take batches of 128 as on one GPU.
        ("alexnet_owt_imagenet2012_4_gpus", "fc8/weights", {0: 1e-2, 89: 1e-2 / 250}),
        ("alexnet_owt_imagenet2012_4_gpus", "fc8/biases", {0: 0.02, 30: 0.02, 89: 0.002}),
    ],
)
def test_rates_are_those_of_the_source(recipe, variable, rates):
    config = read(next(path for path in RECIPES if path.stem == recipe))
    config = config.with_defaults(networks[config.model_name].hyperparameters)
    names = [f"{config.model_name}/{variable}"]
    known = variable_names(config.model_name)
    factors = VariableFactors("", config.learning_rate_factors, names, known)
    # The first step of an epoch still has the rate of the one before it.
    num_steps = round(10 * config.num_epochs)
    rate = LearningRate(settings(LearningRateSettings, config), 10, num_steps)
    for epoch, expected in rates.items():
        effective = float(rate(10 * epoch + 1)) * factors.at(epoch)[0]
        assert effective == pytest.approx(expected, rel=1e-3)


def test_tf_slims_defaults_are_those_of_the_original_and_only_where_ours_differ():
    recipe = next(path for path in RECIPES if path.stem == "tf_slim_defaults")
    config, ours = read(recipe), TrainingConfig()
    # In /tmp there; never validated, and trained until stopped.
    other_names = {"train_dir": None}
    for name, default in {**tf_slim_drivers.TRAIN, **other_names}.items():
        if hasattr(ours, name):
            assert (getattr(config, name) or None) == (default or None), name
    given = [line for line in recipe.read_text().splitlines() if line.startswith("--")]
    for line in given:
        name, equals, _ = line.removeprefix("--").partition("=")
        name = name if equals else name.removeprefix("no")
        assert getattr(config, name) != getattr(ours, name), line
