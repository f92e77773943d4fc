"""What is wrong with the flags is said before anything is measured."""

import pytest


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("train_throughput.py", ["--peers=caffe"], "takes pytorch, tf_slim, keras, each with"),
        ("inference_throughput.py", ["--precisions=float8"], "float16, bfloat16_weights."),
        ("batch_sizes.py", ["--batch_sizes=8,none"], "takes numbers greater than 0."),
        ("lrn.py", ["--peers=keras"], "takes tensorflow and pytorch."),
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
