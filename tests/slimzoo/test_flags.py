import dataclasses
import pathlib
import re

import pytest
from absl import flags

from slimzoo.commands.compute_dataset_statistics import StatisticsConfig
from slimzoo.commands.convert_weights import ConversionConfig
from slimzoo.commands.eval_image_classifier import EvaluationConfig
from slimzoo.commands.export_saved_model import ExportConfig
from slimzoo.commands.prepare_dataset import PreparationConfig
from slimzoo.configuration import TrainingConfig
from slimzoo.flags import define_flags, flag, flag_lines, parse_options, read_flags, settings
from training.learning_rates import LearningRateSettings, decay_types
from training.optimizers import OptimizerSettings, optimizers
from training.training_loop import LoopSettings

CONFIGS = [
    *(TrainingConfig, EvaluationConfig, ExportConfig),
    *(PreparationConfig, StatisticsConfig, ConversionConfig),
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


def test_flags_of_every_kind_arrive_and_can_be_written_as_a_flagfile(tmp_path):
    config = parse(
        TrainingConfig,
        "--model_name=alexnet",
        "--batch_size=64",
        "--learning_rate=0.5",
        "--noaugment",
        "--trainable_scopes=a/b,a/c",
        "--moving_average_decay=0.99",
        '--preprocessing_options=augment=False,"deviation_rgb=(1,1,1)"',
        "--mixed_precision=bfloat16",
        "--validation_split_name=train[80%:]",
    )
    assert config.trainable_scopes == ["a/b", "a/c"]
    assert (config.batch_size, config.learning_rate, config.augment) == (64, 0.5, False)
    assert parse_options(
        "preprocessing_options",
        config.preprocessing_options,
        {"augment": True, "deviation_rgb": (2.0, 2.0, 2.0)},
    ) == {"augment": False, "deviation_rgb": (1, 1, 1)}
    flagfile = tmp_path / "flags.txt"
    flagfile.write_text(flag_lines(config))
    assert parse(TrainingConfig, f"--flagfile={flagfile}") == config


def test_booleans_are_understood_in_either_case():
    options = ["a=false", "b=True", "c=TRUE"]
    defaults = {"a": True, "b": False, "c": False}
    assert parse_options("network_options", options, defaults) == {"a": False, "b": True, "c": True}


@pytest.mark.parametrize(
    ("config_class", "argument", "message"),
    [
        (TrainingConfig, "--bach_size=3", "Did you mean: batch_size"),
        (TrainingConfig, "--batch_size=many", "flag --batch_size=many"),
        (TrainingConfig, "--mixed_precision=int8", "<float32|bfloat16|float16>"),
        (PreparationConfig, "--encoding=png", "<jpeg|raw>"),
    ],
)
def test_a_wrong_flag_is_refused_with_what_is_accepted(config_class, argument, message):
    with pytest.raises(flags.Error) as raised:
        parse(config_class, argument)
    assert message in str(raised.value)


def test_choices_hold_for_those_who_build_the_dataclass_too():
    with pytest.raises(ValueError, match=r"Unknown --mixed_precision 'int8'\. .*float16"):
        TrainingConfig(mixed_precision="int8")


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


def test_a_list_that_is_a_default_is_nobodys_own():
    @dataclasses.dataclass
    class Config:
        names: list[str] = flag([], "Names.")

    Config().names.append("a")
    assert Config().names == []


def test_the_flag_in_contributing_works_as_written():
    """With its field in the library's settings, it arrives there."""
    contributing = (pathlib.Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    ((line,),) = [re.findall(r"# slimzoo/configuration\.py\n(lion_beta2: .*)\n", contributing)]
    (field,) = re.findall(r"`(lion_beta2: float = [\d.]+)`", contributing)
    namespace = {"dataclasses": dataclasses, "flag": flag, "Base": OptimizerSettings}
    decorator = "@dataclasses.dataclass(frozen=True, kw_only=True)\n"
    exec(f"{decorator}class OptimizerSettings(Base):\n    {field}\n", namespace)
    exec(f"{decorator}class Config:\n    {line}\n", namespace)
    config = parse(namespace["Config"], "--lion_beta2=0.5")
    assert config.lion_beta2 == 0.5
    assert parse(namespace["Config"]).lion_beta2 == namespace["OptimizerSettings"]().lion_beta2
    assert namespace["Config"].__dataclass_fields__["lion_beta2"].metadata["help"].endswith(".")
