"""The peers are the same networks: as many parameters, and PyTorch's gives the same logits."""

import importlib.util
import os

import numpy as np
import pytest
import tensorflow as tf

import peers
from contenders import Contender, RunningContender
from nets import nets_factory

PARAMETERS = {"alexnet": 60_965_224, "alexnet_v2": 50_303_912}
needs_torch = pytest.mark.skipif(
    not importlib.util.find_spec("torch"), reason="torch is not installed"
)


@needs_torch
@pytest.mark.parametrize("model", PARAMETERS)
def test_pytorch_with_our_weights_gives_our_logits(model):
    import torch

    from peers import pytorch

    network = pytorch.NETWORKS[model]().eval()
    assert sum(weights.numel() for weights in network.parameters()) == PARAMETERS[model]
    # Weights for which every layer has a say in the logits; LRN's share is the paper's.
    tf.random.set_seed(0)
    ours = nets_factory.get_network_fn(model)
    layers = [layer for layer in network if hasattr(layer, "weight")]
    names = dict.fromkeys(name.rpartition("/")[0] for name in ours.variables)
    for layer, name in zip(layers, names, strict=True):
        weights = np.transpose(ours.variables[f"{name}/weights"].numpy(), [3, 2, 0, 1])
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weights.reshape(layer.weight.shape)))
            layer.bias.copy_(torch.from_numpy(ours.variables[f"{name}/biases"].numpy()))
    images = np.random.default_rng(0).normal(0, 60, [2, 224, 224, 3]).astype(np.float32)
    logits, _ = ours(images)
    with torch.no_grad():
        theirs = network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(theirs, logits, atol=2e-4 * np.abs(logits).max())


@needs_torch
def test_the_papers_dropout_halves_at_test_time_and_not_in_training():
    import torch

    from peers import pytorch

    dropout = pytorch.PaperDropout(0.5)
    assert set(dropout.train()(torch.ones(1000)).tolist()) == {0.0, 1.0}
    assert set(dropout.eval()(torch.ones(10)).tolist()) == {0.5}


@needs_torch
@pytest.mark.slow
def test_pytorch_in_float16_scales_the_loss_and_takes_the_steps_of_float32(monkeypatch):
    here = os.path.dirname(__file__)
    monkeypatch.setenv("PYTHONPATH", f"{here}{os.pathsep}{os.environ['PYTHONPATH']}")
    facts = {}
    for precision in ("float32", "float16"):
        running = RunningContender(
            Contender(precision, "told_contenders:small_in_pytorch", {"precision": precision})
        )
        facts[precision] = running.facts
        running.close()
    assert facts["float32"]["scales"] == [1, 1]
    assert facts["float16"]["scales"] == [2**16, 2**16]
    single, half = (np.array(facts[precision]["change"]) for precision in ("float32", "float16"))
    assert (half != single).any()
    np.testing.assert_allclose(half, single, rtol=0, atol=0.02 * np.abs(single).max())


@pytest.mark.parametrize("model", PARAMETERS)
def test_stock_keras_has_as_many_parameters(model):
    from peers import stock_keras

    assert stock_keras.NETWORKS[model]().count_params() == PARAMETERS[model]


def test_a_peer_that_is_missing_or_has_no_such_network_is_left_out_with_a_reason(monkeypatch):
    missing = peers.Peer("no_such_package", "peers.none", {"training_step": ("eager",)}, ("eager",))
    monkeypatch.setitem(peers.PEERS, "missing", missing)
    arguments = {"model": "cifarnet_18pct", "precision": "float32"}
    contenders, left_out = peers.peer_contenders(["missing", "keras"], "training_step", arguments)
    assert contenders == []
    assert [one.reason for one in left_out] == [
        "no_such_package is not installed",
        "it has no cifarnet_18pct here",
    ]
    assert "missing" not in peers.installed_peers()


def test_a_mode_may_be_chosen():
    arguments = {"model": "alexnet", "precision": "float32"}
    contenders, left_out = peers.peer_contenders(["keras:fit"], "training_step", arguments)
    assert [one.name for one in contenders] == ["keras fit"]
    assert left_out == []
    assert peers.check_selection(["keras:fit", "pytorch"])
    assert not peers.check_selection(["keras:eager"])


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train_throughput.py", "inference_throughput.py"])
def test_peers_are_measured_in_the_same_rounds_and_have_as_many_parameters(
    run_benchmark, check_figures, script
):
    selection = {"keras": "keras own_loop"}
    if importlib.util.find_spec("torch"):
        selection["pytorch:eager"] = "pytorch eager"
    if importlib.util.find_spec("tf_slim"):
        selection["tf_slim"] = "tf_slim graph"
    report, _ = run_benchmark(
        script,
        *("--models=alexnet_v2", "--batch_size=2", f"--peers={','.join(selection)}"),
        *("--runs=2", "--steps=1", "--seconds=0"),
    )
    assert {row["contender"] for row in report["results"]} == {"slimzoo", *selection.values()}
    assert {row["parameters"] for row in report["results"]} == {PARAMETERS["alexnet_v2"]}
    for row in report["results"]:
        check_figures(row, "images_per_second", 2)
    assert len(report["ratios"]) == len(selection)
    for row in report["ratios"]:
        assert 0 < row["smallest"] <= row["ratio"] <= row["largest"]
