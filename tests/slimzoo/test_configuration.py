"""The fields of the commands' configurations: their defaults, help texts and ranges."""

import dataclasses

import pytest
from absl import flags

from nets import nets_factory
from slimzoo.commands.classify_images import ClassificationConfig
from slimzoo.commands.compute_dataset_statistics import StatisticsConfig
from slimzoo.commands.convert_weights import ConversionConfig
from slimzoo.commands.eval_image_classifier import EvaluationConfig
from slimzoo.commands.export_saved_model import ExportConfig
from slimzoo.commands.prepare_dataset import PreparationConfig
from slimzoo.configuration import TrainingConfig
from slimzoo.flags import define_flags, read_flags, settings
from training.learning_rates import LearningRateSettings, decay_types
from training.optimizers import OptimizerSettings, optimizers
from training.training_loop import LoopSettings

CONFIGS = [
    *(TrainingConfig, EvaluationConfig, ExportConfig),
    *(PreparationConfig, StatisticsConfig, ConversionConfig, ClassificationConfig),
]


def parse(config_class, *arguments):
    values = flags.FlagValues()
    define_flags(config_class, values)
    values(["program", *arguments])
    return read_flags(config_class, values)


@pytest.mark.parametrize("config_class", CONFIGS)
def test_without_flags_it_is_the_default_configuration(config_class):
    needed = {
        field.name: "given"
        for field in dataclasses.fields(config_class)
        if field.metadata["required"]
    }
    given = [f"--{name}={value}" for name, value in needed.items()]
    assert parse(config_class, *given) == config_class(**needed)
    for name in needed:
        with pytest.raises(ValueError, match=f"--{name} is not given. .* Required."):
            config_class(**{**needed, name: None})
        with pytest.raises(ValueError, match=f"--{name} is not given"):
            parse(config_class, *(flag for flag in given if not flag.startswith(f"--{name}=")))


@pytest.mark.parametrize("config_class", CONFIGS)
def test_every_flag_has_a_help_text_of_its_own(config_class):
    for field in dataclasses.fields(config_class):
        assert field.metadata["help"].endswith("."), field.name


def test_the_export_takes_the_image_size_under_tf_slims_name():
    config = parse(ExportConfig, "--checkpoint_path=x", "--image_size=299")
    assert config.export_image_size == 299


def test_a_flag_goes_on_working_under_its_old_name():
    assert parse(TrainingConfig, "--network_module=a.b,c").import_modules == ["a.b", "c"]


@pytest.mark.parametrize("cls", [OptimizerSettings, LearningRateSettings, LoopSettings])
def test_flags_have_the_names_and_defaults_of_the_libraries_settings(cls):
    flag_defaults = TrainingConfig().with_defaults({})
    for field in dataclasses.fields(cls):
        if field.default is dataclasses.MISSING or not hasattr(flag_defaults, field.name):
            continue
        value = getattr(flag_defaults, field.name)
        assert value == (list(field.default) if isinstance(value, list) else field.default)
    if cls is not LoopSettings:  # whose lengths come from the dataset
        assert settings(cls, flag_defaults)


def test_help_names_every_optimizer_and_decay_type():
    help_of = {field.name: field.metadata["help"] for field in dataclasses.fields(TrainingConfig)}
    assert all(name in help_of["optimizer"] for name in optimizers)
    assert all(f"`{name}`: " in help_of["learning_rate_decay_type"] for name in decay_types)
    assert "None" not in help_of["learning_rate_decay_type"]  # each says what it does


@pytest.mark.parametrize(
    "values",
    [
        {"num_epochs": float("inf")},
        {"validation_interval_epochs": float("inf")},
        {"opt_epsilon": 0.0},
        {"adagrad_initial_accumulator_value": 0.0},
        {"ftrl_learning_rate_power": 0.5},
        {"ftrl_learning_rate_power": float("nan")},
        {"ftrl_l1": -1.0},
        {"batch_size": 0},
        {"batch_size": -8},
        {"train_image_size": -1},
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"momentum": 1.0},
        {"label_smoothing": 1.0},
        {"max_number_of_steps": 0},
        {"learning_rate": 1e39},
        {"moving_average_decay": 0.0},
        {"num_replicas": 0},
        {"steps_per_call": 0},
        {"steps_per_call": 20, "log_every_n_steps": 10},
        {"steps_per_call": 2, "distribution_strategy": "multi_worker_mirrored"},
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_done(values):
    with pytest.raises(ValueError, match=f"--{next(iter(values))} is "):
        TrainingConfig(**values)


def test_defaults_are_the_networks_where_nothing_is_given():
    own = nets_factory.networks["cifarnet_18pct"].hyperparameters
    config = TrainingConfig(model_name="cifarnet_18pct", weight_decay=0.0).with_defaults(own)
    assert (config.learning_rate, config.weight_decay) == (0.001, 0.0)
    assert config.learning_rate_factors == ["*/biases=2"]
    others = TrainingConfig(learning_rate_factors=[]).with_defaults(own)
    assert (others.learning_rate_factors, others.weight_decay) == ([], 0.004)
    plain = TrainingConfig().with_defaults({})
    assert (plain.learning_rate, plain.weight_decay) == (0.01, 5e-4)
    with pytest.raises(ValueError, match="Unknown hyperparameter 'rate'"):
        TrainingConfig().with_defaults({"rate": 1})
