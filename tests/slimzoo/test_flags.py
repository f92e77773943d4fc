import dataclasses
import os
import pathlib
import re

import pytest
from absl import flags

from slimzoo.commands.prepare_dataset import PreparationConfig
from slimzoo.configuration import TrainingConfig
from slimzoo.flags import (
    Theme,
    check_fields,
    check_fraction,
    check_not_negative,
    check_positive,
    define_flags,
    flag,
    flag_lines,
    parse_options,
    read_flags,
    settings,
)
from training.optimizers import OptimizerSettings


def parse(config_class, *arguments):
    values = flags.FlagValues()
    define_flags(config_class, values)
    values(["program", *arguments])
    return read_flags(config_class, values)


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class TakesArguments:
    """What a command has that takes names of files."""

    size: int = flag(1, "A number.")
    names: list[str] = flag([], "Names.", takes_arguments=True)

    def __post_init__(self):
        check_fields(self)


def test_arguments_go_to_the_field_that_takes_them_wherever_they_are():
    not_utf8 = os.fsdecode(b"caf\xe9.jpg")
    given = ["a b.jpg", "--names=c,d", "-", "--size=3", "e,f.jpg", not_utf8, "--", "--g.jpg"]
    values = flags.FlagValues()
    define_flags(TakesArguments, values)
    config = read_flags(TakesArguments, values, values(["program", *given])[1:])
    assert config.names == ["c", "d", "a b.jpg", "-", "e,f.jpg", not_utf8, "--g.jpg"]
    assert config.size == 3


def test_arguments_that_no_field_takes_are_refused():
    values = flags.FlagValues()
    define_flags(PreparationConfig, values)
    left = values(["program", "train", "--dataset_name=shapes"])[1:]
    with pytest.raises(ValueError, match=r"arguments: train --dataset_name=shapes\. Fl"):
        read_flags(PreparationConfig, values, left)


def test_booleans_are_understood_in_either_case():
    options = ["a=false", "b=True", "c=TRUE"]
    defaults = {"a": True, "b": False, "c": False}
    assert parse_options("network_options", options, defaults) == {"a": False, "b": True, "c": True}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("rate", "has 'rate'; it takes name=value"),
        ("rat=1", "Unknown option in --x 'rat'. Did you mean 'rate'"),
        ("rate=fast", "rate takes a value such as 0.5"),
        ("rate=True", "rate takes a value such as 0.5"),
        ("size=3.5", "size takes a value such as 3"),
        ("rate=1,rate=2", "has 'rate=1,rate=2'; rate takes a value such as 0.5"),
    ],
)
def test_an_option_that_does_not_fit_is_named(option, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        parse_options("x", [option], {"rate": 0.5, "size": 3})
    assert "--x" in str(error.value)


def test_an_option_that_is_none_by_default_takes_anything():
    assert parse_options("x", ["mean=(1, 2)", "file=a=b"], {"mean": None, "file": None}) == {
        "mean": (1, 2),
        "file": "a=b",
    }


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


def test_a_list_that_is_a_default_is_nobodys_own():
    @dataclasses.dataclass
    class Config:
        names: list[str] = flag([], "Names.")

    Config().names.append("a")
    assert Config().names == []


def test_settings_take_the_fields_of_their_names_and_no_others():
    @dataclasses.dataclass
    class Settings:
        batch_size: int
        momentum: float = 0.5

    assert settings(Settings, TrainingConfig(batch_size=7)) == Settings(7, 0.9)


@pytest.mark.parametrize(
    ("check", "accepted", "refused"),
    [
        (check_positive, [1, 1e-9, None], [0, -1, float("inf"), float("nan"), 1e39]),
        (check_not_negative, [0, 0.5, None], [-1e-9, float("inf"), float("nan")]),
        (check_fraction, [0, 0.999, None], [1, -0.1, float("nan")]),
    ],
)
def test_a_number_out_of_range_is_refused_by_the_name_of_its_flag(check, accepted, refused):
    for value in accepted:
        check(rate=value)
    for value in refused:
        with pytest.raises(ValueError, match=re.escape(f"--rate is {value}; it must be")):
            check(rate=value)


def test_the_flag_in_contributing_works_as_written():
    """With its field in the library's settings, it arrives there."""
    contributing = (pathlib.Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    pattern = r"# slimzoo/optimization_flags\.py\n(lion_beta2: .*?)\n```"
    (line,) = re.findall(pattern, contributing, re.DOTALL)
    line = line.replace("\n", "\n    ")
    (field,) = re.findall(r"`(lion_beta2: float = [\d.]+)`", contributing)
    namespace = {
        **{"dataclasses": dataclasses, "flag": flag, "Theme": Theme},
        "Base": OptimizerSettings,
    }
    decorator = "@dataclasses.dataclass(frozen=True, kw_only=True)\n"
    exec(f"{decorator}class OptimizerSettings(Base):\n    {field}\n", namespace)
    exec(f"{decorator}class Config:\n    {line}\n", namespace)
    config = parse(namespace["Config"], "--lion_beta2=0.5")
    assert config.lion_beta2 == 0.5
    assert parse(namespace["Config"]).lion_beta2 == namespace["OptimizerSettings"]().lion_beta2
    assert namespace["Config"].__dataclass_fields__["lion_beta2"].metadata["help"].endswith(".")


@pytest.mark.parametrize("name", ["run_name", "a_list"])
def test_bytes_that_are_no_text_are_refused(name):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Named:
        run_name: str | None = flag(None, "A name.")
        a_list: list[str] = flag([], "Names.")

    given = os.fsdecode(b"caf\xe9")
    with pytest.raises(ValueError, match=rf"--{name} is b'caf\\xe9', which is not UTF-8"):
        check_fields(Named(**{name: [given] if name == "a_list" else given}))
    check_fields(Named(**{name: ["café"] if name == "a_list" else "café"}))
