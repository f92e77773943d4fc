"""Every benchmark starts, and says what is wrong with its flags before anything is measured."""

import importlib.util
import pathlib

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"
MODULES = sorted(BENCHMARKS.glob("*.py"))
SCRIPTS = [path.name for path in MODULES if path.read_text().endswith("run(main)\n")]
PEERS = {f"peers.{path.stem}" for path in BENCHMARKS.glob("peers/[!_]*.py")}
MISSING = {
    module
    for module, packages in {
        "peers.pytorch": ["torch"],
        "peers.torchvision_networks": ["torch", "torchvision"],
        "peers.tf_slim_graph": ["tf_slim", "tf_keras"],
    }.items()
    if not all(map(importlib.util.find_spec, packages))
}


def test_the_document_lists_every_script():
    document = (BENCHMARKS / "README.md").read_text()
    for script in SCRIPTS:
        assert f"python benchmarks/{script}" in document
    assert len(SCRIPTS) == 18


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_starts_and_lists_its_flags(start_here, script):
    status, output, _ = start_here(script, "--help")
    assert status == 1  # absl's, for --help
    assert f"python benchmarks/{script}" in output  # what it says of itself
    assert "  --output:" in output  # mostly a flag of a module beside it


def test_every_other_module_can_be_imported(benchmark_module):
    beside = {path.stem for path in MODULES if path.name not in SCRIPTS}
    for name in beside | PEERS - MISSING:
        assert benchmark_module(name).__doc__


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("train_throughput.py", ["--peers=caffe"], "takes pytorch, torchvision, tf_slim,"),
        ("inference_throughput.py", ["--precisions=float8"], "float16, bfloat16_weights."),
        ("batch_sizes.py", ["--batch_sizes=8,none"], "takes numbers greater than 0."),
        ("lrn.py", ["--peers=keras"], "takes tensorflow and pytorch."),
        ("updates.py", ["--shape=0,8"], "takes two positive numbers."),
        ("train_throughput.py", ["--output=nowhere/x.json"], "--output is nowhere/x.json, but"),
        ("lrn.py", ["--output=nowhere/x.json"], "Nothing was measured."),
        (
            "train_throughput.py",
            ["--models=alexnet_v9", "--peers=", "--runs=1"],
            "ERROR: slimzoo cannot be measured: UnknownNameError: Unknown network 'alexnet_v9'",
        ),
        ("gpu_ceiling.py", ["--model=alexnet_v9"], "ERROR: Unknown network 'alexnet_v9'"),
        (
            "gpu_ceiling.py",
            ["--gpu=t4", "--model=cifarnet_18pct"],
            "This GPU has no bfloat16: give --precision=float16",
        ),
    ],
)
def test_an_error_is_a_message(start_here, script, arguments, message):
    status, output, errors = start_here(script, *arguments)
    assert status == 1
    assert message in errors
    assert not output
