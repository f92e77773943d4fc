"""docs/from_tf_slim.md: its tables against the code, its lines and its snippet as written."""

import dataclasses
import pathlib
import re
import shlex

import pytest
from absl import flags

from slimzoo.commands.eval_image_classifier import EvaluationConfig
from slimzoo.commands.export_saved_model import ExportConfig
from slimzoo.configuration import TrainingConfig
from slimzoo.flags import current_names, define_flags, read_flags
from slimzoo.tf_slim_flags import answer_tf_slim_flags, define_tf_slim_flags

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "from_tf_slim.md").read_text()
CONFIGS = {
    "train_image_classifier": TrainingConfig,
    "eval_image_classifier": EvaluationConfig,
    "export_saved_model": ExportConfig,
    "export_inference_graph": ExportConfig,
}
HEADER = "| flag | TF-Slim's default | here |\n|---|---|---|\n"
COMMANDS = re.findall(r"^python (\w+)\.py ((?:.*\\\n)*.*)", DOCUMENT, re.M)


def rows(table):
    """A table of `slimzoo.tf_slim_flags`, as the document has it."""
    return [
        f"| `--{one.name}` | {_shown(one.default)} | {'*passes*. ' * one.passes}{one.instead} |"
        for one in table
    ]


def _shown(default):
    return "none" if default in (None, "") else f"`{str(default).lower()}`"


@pytest.mark.parametrize("driver", CONFIGS)
def test_the_table_is_that_of_the_code(driver):
    if driver == "export_saved_model":
        return  # the name here of the next
    _, _, below = DOCUMENT.partition(f"\n`{driver}`")
    _, _, below = below.partition(HEADER)
    written = below.partition("\n\n")[0].splitlines()
    assert written == rows(CONFIGS[driver].tf_slim_flags)  # what to write is on the right


def test_what_differs_is_said_of_flags_that_exist():
    _, _, below = DOCUMENT.partition("## Flags that are taken")
    table = below.partition("\n## ")[0]
    known = {"help"}
    for config_class in CONFIGS.values():
        known |= {field.name for field in dataclasses.fields(config_class)}
        known |= set(current_names(config_class))
    named = re.findall(r"`--(?:no)?(\w+)`", table)
    assert len(named) > 20
    assert set(named) <= known


@pytest.mark.parametrize(("driver", "arguments"), COMMANDS)
def test_every_flag_of_a_line_is_known(driver, arguments, monkeypatch):
    """Of the old lines to the tables, of the new ones to the commands."""
    monkeypatch.chdir(ROOT)  # where recipes are
    values = flags.FlagValues()
    define_flags(CONFIGS[driver], values)
    define_tf_slim_flags(CONFIGS[driver].tf_slim_flags, values)
    flags.DEFINE_bool("alsologtostderr", False, "absl's", values)
    words = values([driver, *shlex.split(arguments.replace("\\\n", " "))])[1:]
    if arguments.startswith("\\\n"):  # TF-Slim's
        assert not words
        return
    assert answer_tf_slim_flags(CONFIGS[driver].tf_slim_flags, values) == ""
    assert read_flags(CONFIGS[driver], values, words)


def test_lines_are_found():
    old = [arguments for _, arguments in COMMANDS if arguments.startswith("\\\n")]
    assert (len(old), len(COMMANDS)) == (4, 8)


def test_what_answers_num_clones_is_what_the_document_has():
    old, new = (arguments for driver, arguments in COMMANDS[:2])
    values = flags.FlagValues()
    define_flags(TrainingConfig, values)
    define_tf_slim_flags(TrainingConfig.tf_slim_flags, values)
    values(["train", *shlex.split(old.replace("\\\n", " "))])
    with pytest.raises(ValueError, match="Here: ") as raised:
        answer_tf_slim_flags(TrainingConfig.tf_slim_flags, values)
    assert str(raised.value).partition("Here: ")[2] in new


def test_the_snippet_for_python_runs_as_written():
    [code] = re.findall(r"```python\n(.*?)```", DOCUMENT, re.S)
    names = {}
    exec(code, names)
    assert names["logits"].shape == (1, 1001)
    assert "MobilenetV1/Conv2d_0/weights" in names["network_fn"].variables
