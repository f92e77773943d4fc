import dataclasses
import sys

import pytest
from absl import flags

from slimzoo.commands.compute_dataset_statistics import StatisticsConfig
from slimzoo.commands.convert_weights import ConversionConfig
from slimzoo.commands.eval_image_classifier import EvaluationConfig
from slimzoo.commands.export_saved_model import ExportConfig
from slimzoo.commands.prepare_dataset import PreparationConfig
from slimzoo.configuration import CommandConfig, TrainingConfig
from slimzoo.flags import Theme, define_flags, flag
from slimzoo.help_text import define_help_flags, help_text

COMMANDS = [
    *(TrainingConfig, EvaluationConfig, ExportConfig),
    *(PreparationConfig, StatisticsConfig, ConversionConfig),
]
ABOUT = "Turns weights of other frameworks into a checkpoint, which all the other commands take."


@pytest.mark.parametrize("config_class", COMMANDS)
def test_every_flag_is_there_once_in_lines_of_80_columns(config_class):
    lines = help_text(config_class, ABOUT).splitlines()
    assert max(map(len, lines)) < 80
    assert lines[0].startswith("Turns weights")
    names = [
        line.split(":")[0].split()[0].removeprefix("--").removeprefix("[no]")
        for line in lines
        if line.startswith("  --")
    ]
    assert sorted(names) == sorted(field.name for field in dataclasses.fields(config_class))
    assert names[: len(config_class.first_flags)] == list(config_class.first_flags)


def test_training_begins_with_what_most_people_need_and_goes_on_by_theme():
    assert len(TrainingConfig.first_flags) == 12
    lines = help_text(TrainingConfig, ABOUT).splitlines()
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Most used:", *(f"{theme.value}:" for theme in Theme)]
    rates = lines[lines.index("Learning rate:") : lines.index(f"{Theme.OPTIMIZER.value}:")]
    assert any(line.startswith("  --warmup_epochs: ") for line in rates)


@pytest.mark.parametrize("config_class", COMMANDS)
def test_names_are_listed_where_one_is_asked_for(config_class):
    text = " ".join(help_text(config_class, ABOUT).split())
    known = {
        "model_name": "alexnet, alexnet_2012, alexnet_cifar, alexnet_keras, alexnet_owt",
        "preprocessing_name": "alexnet, alexnet_2012, caffe, cifar, cifarnet, cuda_convnet",
    }
    for name, names in known.items():
        assert (f"--{name}: " in text) == (names in text)


def test_a_flag_without_a_theme_comes_last():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Config(CommandConfig):
        crop: bool = flag(True, "Crops.")
        sizes: list[str] = flag([], "Sizes.")
        rate: float = flag(0.5, "The rate.", theme=Theme.LEARNING_RATE)
        kind: str = flag("a", "The kind.", ("a", "b"), theme=Theme.IMAGES)

    text = help_text(Config, "About.")
    assert text.startswith(
        "About.\n\nImages and preprocessing:\n  --kind <a|b>: The kind. (default: a)\n\n"
        "Learning rate:\n  --rate: The rate. (default: 0.5)\n\nOther:\n"
    )
    assert "  --[no]crop: Crops. (default: true)\n  --sizes: Sizes. (separated by commas)\n" in text


@pytest.mark.parametrize("asked", ["--help", "-help", "--helpshort", "-?", "-h"])
def test_whoever_asks_for_help_gets_it(capsys, monkeypatch, asked):
    monkeypatch.setattr(sys.modules["__main__"], "__doc__", ABOUT)
    values = flags.FlagValues()
    define_flags(StatisticsConfig, values)
    define_help_flags(StatisticsConfig, values)
    with pytest.raises(SystemExit) as end:
        values(["program", "--image_size=3", asked])
    assert end.value.code == 0
    assert capsys.readouterr().out == help_text(StatisticsConfig, ABOUT) + "\n"
