"""What README.md tells a reader to type: it runs, or at least each flag exists."""

import pathlib
import re
import shlex

import pytest
import tensorflow as tf
from absl import flags

from slimzoo.commands.classify_images import ClassificationConfig
from slimzoo.commands.compute_dataset_statistics import StatisticsConfig
from slimzoo.commands.convert_weights import ConversionConfig
from slimzoo.commands.eval_image_classifier import EvaluationConfig
from slimzoo.commands.export_saved_model import ExportConfig
from slimzoo.commands.prepare_dataset import PreparationConfig
from slimzoo.configuration import TrainingConfig
from slimzoo.flags import define_flags, read_flags

CONFIGS = {
    "train_image_classifier": TrainingConfig,
    "eval_image_classifier": EvaluationConfig,
    "export_saved_model": ExportConfig,
    "classify_images": ClassificationConfig,
    "prepare_dataset": PreparationConfig,
    "compute_dataset_statistics": StatisticsConfig,
    "convert_weights": ConversionConfig,
}

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(
    r"^python (\w+)\.py (--(?:.*\\\n)*.*)",
    "\n".join(
        [
            README,
            (ROOT / "CONTRIBUTING.md").read_text(),
            (ROOT / "docs" / "weights.md").read_text(),
        ]
    ),
    re.M,
)


def block_with(text):
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", README, re.S) if text in b)
    return block


@pytest.mark.parametrize(("command", "arguments"), COMMANDS)
def test_every_flag_of_a_command_exists(command, arguments, monkeypatch):
    if "--help" in arguments:
        return
    monkeypatch.chdir(ROOT)  # where recipes are
    config_class = CONFIGS[command]
    values = flags.FlagValues()
    define_flags(config_class, values)
    words = shlex.split(arguments.replace("\\\n", " "), comments=True)
    words = values([command, *words])[1:]
    assert read_flags(config_class, values, words)  # no flag is unknown, no word left over


def test_commands_are_found():
    assert len(COMMANDS) >= 12


def test_the_snippet_for_python_runs_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pixels = tf.cast(tf.random.uniform([40, 60, 3], maxval=256, dtype=tf.int32), tf.uint8)
    (tmp_path / "a.jpg").write_bytes(tf.io.encode_jpeg(pixels).numpy())
    names = {}
    exec(block_with('get_network_fn("alexnet"'), names)
    assert names["logits"].shape == (1, 1000)
    assert "60,965,224" in capsys.readouterr().out  # of the summary


def test_the_training_loop_for_python_runs_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        for number in range(4):
            path = tmp_path / "photos" / "train" / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = tf.fill([40, 60, 3], tf.cast(number * 30 + 20, tf.uint8))
            path.write_bytes(tf.io.encode_jpeg(pixels).numpy())
    code = block_with("make_training_state(")
    # Fewer and smaller steps; nothing else is changed.
    for written, quick in (("batch_size=32", "batch_size=2"), (".take(100)", ".take(2)")):
        assert written in code
        code = code.replace(written, quick)
    exec(code, {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1"]


def test_the_map_names_what_is_there():
    (tree,) = re.findall(r"## What is where\n\n```\n(.*?)```", README, re.S)
    folders = {line.split()[0].rstrip("/") for line in tree.splitlines()}
    ours = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == ours | {"recipes", "benchmarks", "docs"}
    assert all((ROOT / folder).is_dir() for folder in folders)


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
        for target in re.findall(r"\]\(([^)#]+)[)#]", text):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
