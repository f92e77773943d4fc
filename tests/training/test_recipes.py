"""Each recipe against the flags, networks and pipelines that there are."""

import pathlib

import pytest
from absl import flags

from nets.nets_factory import get_network_fn, networks
from preprocessing import preprocessing_factory
from training import command_line, run_setup
from training.configuration import TrainingConfig, parse_options
from training.learning_rates import LearningRate
from training.variable_factors import VariableFactors

RECIPES = sorted((pathlib.Path(__file__).parents[2] / "recipes").glob("*.flags"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_names_what_exists(recipe):
    values = flags.FlagValues()
    command_line.define_flags(TrainingConfig, values)
    values(["train", f"--flagfile={recipe}"])
    config = command_line.read_flags(TrainingConfig, values)
    run_setup.check_names(config)
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
    variables = get_network_fn(config.model_name, 10).variables
    VariableFactors("learning_rate_factors", config.learning_rate_factors, variables)
    VariableFactors("weight_decay_factors", config.weight_decay_factors, variables)
    assert LearningRate(config, steps_per_epoch=10, num_steps=1000)(5) > 0
    text = recipe.read_text()
    assert f"--flagfile=recipes/{recipe.name}" in text  # the command that it opens with
