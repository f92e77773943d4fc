"""Counts against numbers worked out by hand from the papers' tables."""

import pytest

from gpus import GPUS, Gpu
from nets import nets_factory
from network_costs import LayerCost, NetworkCosts, count_costs
from step_bounds import step_bounds


@pytest.fixture(scope="module")
def alexnet_costs():
    return count_costs(nets_factory.get_network_fn("alexnet"))


def test_counts_are_those_of_the_2012_network(alexnet_costs):
    assert alexnet_costs.multiply_adds == 724_406_816
    assert alexnet_costs.parameters == 60_965_224
    assert alexnet_costs.forward_operations == 2 * 724_406_816
    # conv1, whose inputs need no gradient: 55 * 55 positions of 11 * 11 * 3 * 96 weights.
    conv1 = 55 * 55 * 11 * 11 * 3 * 96
    assert alexnet_costs.training_operations == 2 * (3 * 724_406_816 - conv1)
    by_name = {layer.name: layer for layer in alexnet_costs.layers}
    assert by_name["conv1"].multiply_adds == conv1
    # Two groups halve what a kernel reads.
    assert by_name["conv2"].multiply_adds == 27 * 27 * 5 * 5 * 48 * 256
    assert by_name["norm1"].inputs == by_name["norm1"].outputs == 55 * 55 * 96


def test_counts_are_those_of_alexnet_v2():
    costs = count_costs(nets_factory.get_network_fn("alexnet_v2"))
    assert (costs.multiply_adds, costs.parameters) == (736_555_776, 50_303_912)


@pytest.mark.parametrize(
    ("name", "millions"), [("mobilenet_v1", 569), ("mobilenet_v2", 300), ("vgg_16", 15_470)]
)
def test_depthwise_convolutions_and_sums_cost_what_their_papers_say(name, millions):
    costs = count_costs(nets_factory.get_network_fn(name))
    assert costs.multiply_adds / 1e6 == pytest.approx(millions, abs=1)


def test_bounds_of_a_step_by_hand():
    # Two layers: 10 numbers -> 20 by 200 weights, 20 -> 5 by 100.
    costs = NetworkCosts((LayerCost("a", 200, 200, 10, 20), LayerCost("b", 100, 100, 20, 5)))
    assert costs.training_operations == 2 * (3 * 300 - 200)
    forward = 10 + 20 + 20 + 5
    # Inputs, twice the gradient of the outputs, and b's gradient of its inputs.
    backward = (10 + 2 * 20) + (20 + 2 * 5 + 20)
    assert costs.training_activations == forward + backward
    gpu = Gpu(float32=1e3, bfloat16=2e3, memory=1e4, link=100.0, host=10.0)
    bounds = step_bounds(costs, gpu, precision="float32", batch_size=3, num_gpus=4, image_size=2)
    assert bounds.seconds == pytest.approx(
        {
            "operations": 3 * 1400 / 1e3,
            "activations": 3 * (forward + backward) * 4 / 1e4,
            "weights": 300 * 3 * 4 / 1e4,
            "optimizer": 300 * 5 * 4 / 1e4,
            "sending": 2 * 3 / 4 * 300 * 4 / 100.0,
            "images from the host": 3 * 2 * 2 * 3 / 10.0,
        }
    )
    assert bounds.overlapped_seconds == max(bounds.seconds.values())
    assert bounds.serial_seconds == pytest.approx(sum(bounds.seconds.values()))


def test_a_lone_gpu_has_nobody_to_send_gradients_to(alexnet_costs):
    bounds = step_bounds(
        alexnet_costs,
        GPUS["a100"],
        precision="bfloat16",
        batch_size=128,
        num_gpus=1,
        image_size=224,
    )
    assert bounds.sent_bytes == bounds.least_sent_bytes == 0
    assert bounds.optimizer_bytes == 60_965_224 * 4 * 5


@pytest.mark.parametrize("name", GPUS)
def test_data_sheets_are_dense_and_in_the_right_units(name):
    gpu = GPUS[name]
    # No GPU listed reaches a petaflop/s without sparsity, and none has a faster float32.
    assert 1e12 < gpu.float32 < gpu.bfloat16 < 1e15
    assert 1e11 < gpu.memory < 1e13
    assert gpu.host <= 64e9
    assert gpu.link < gpu.memory


def test_the_script_prints_a_plan_for_eight_gpus(run_here):
    report, table = run_here(
        "gpu_ceiling.py",
        *("--tflops=100", "--bandwidth_gbps=1000", "--link_gbps=50", "--batch_size=64"),
        *("--num_gpus=8", "--decode_rate_per_core=500"),
    )
    assert report["network"]["multiply_adds_per_image"] == 724_406_816
    assert report["step"]["operations"] == 64 * report["network"]["training_operations_per_image"]
    assert report["seconds"]["sending"] == pytest.approx(2 * 7 / 8 * 60_965_224 * 4 / 50e9)
    assert report["images_per_second_if_nothing_overlaps"] < report["images_per_second"]
    # No step is shorter than its longest part.
    assert report["images_per_second"] <= 8 * 64 / max(report["seconds"].values()) * (1 + 1e-9)
    assert report["host"]["cores"] >= report["host"]["images_per_second"] / 500
    assert "724,406,816" in table
