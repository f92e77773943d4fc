"""Bytes by hand, and in graphs whose devices are known."""

import pytest
import tensorflow as tf

from device_traffic import (
    counted_bytes,
    hybrid_traffic,
    mirrored_traffic,
    sent_before_the_first_product,
)
from gpus import Gpu
from network_costs import LayerCost, NetworkCosts
from step_bounds import hybrid_bounds, step_bounds

# 10 numbers -> 20 by 200 weights; pooled to 8; -> 6 by 50, dropout, -> 4 by 25.
COSTS = NetworkCosts(
    (
        LayerCost("conv1", 400, 200, 10, 20),
        LayerCost("pool1", 0, 0, 20, 8),
        LayerCost("fc2", 48, 50, 8, 6),
        LayerCost("dropout2", 0, 0, 6, 6),
        LayerCost("fc3", 24, 25, 6, 4),
    )
)


def test_bytes_by_hand():
    assert mirrored_traffic(COSTS, 3).total == 2 * 2 * 275 * 4
    found = hybrid_traffic(COSTS, "pool1", num_devices=3, batch_size=12, width=2)
    assert found.activities == 2 * 12 * 2 * 8 * 2
    assert found.between_layers == 2 * 12 * (2 * 6 + 4) * 2
    assert found.labels == 2 * 12 * (8 + 4)
    assert found.gradients == 2 * 2 * 200 * 4
    assert found.total == found.activities + found.between_layers + found.labels + found.gradients


# Of 4 images on each of 3 devices. In b those of one leave twice by its link.
@pytest.mark.parametrize(("scheme", "images"), [("a", 2 * 4), ("b", 2 * 4), ("c", 2 * 4 / 3)])
def test_what_the_busiest_link_carries_before_the_first_product(scheme, images):
    found = sent_before_the_first_product(scheme, COSTS, "pool1", 3, 12, width=4)
    assert found == pytest.approx(images * 8 * 4)


def test_tensors_that_are_read_elsewhere_are_counted_once_a_device():
    with tf.device("CPU:1"):
        variable = tf.Variable(tf.zeros([5, 7]))

    @tf.function
    def step(value):
        with tf.device("CPU:0"):
            here = value * 2.0
            twice = here + here
        with tf.device("CPU:1"):
            there = here + variable  # 35 numbers from 0 to 1
            again = here * 3.0  # they are there already
        with tf.device("CPU:0"):
            back = tf.reduce_sum(there, axis=0)  # 35 from 1 to 0
        with tf.device("CPU:2"):
            return back + tf.reduce_sum(again + twice)  # 7, 35, 35, of two devices

    graph = step.get_concrete_function(tf.TensorSpec([5, 7])).graph
    assert counted_bytes(graph) == {
        ("CPU:0", "CPU:1"): 35 * 4,
        ("CPU:1", "CPU:0"): 35 * 4,
        ("CPU:0", "CPU:2"): (7 + 35) * 4,
        ("CPU:1", "CPU:2"): 35 * 4,
    }


def test_of_a_scope_it_is_counted_what_its_operations_read():
    @tf.function
    def step(value):
        with tf.device("CPU:0"):
            here = value * 2.0
        with tf.device("CPU:1"):
            with tf.name_scope("first"):
                there = here + 1.0
            with tf.name_scope("first_1"):
                return there + value

    graph = step.get_concrete_function(tf.TensorSpec([5])).graph
    assert counted_bytes(graph, "first") == {("CPU:0", "CPU:1"): 5 * 4}
    assert counted_bytes(graph, "second") == {}


def test_a_size_that_is_not_known_is_said():
    @tf.function
    def step(value):
        with tf.device("CPU:0"):
            here = value + 1.0
        with tf.device("CPU:1"):
            return here + 1.0

    with pytest.raises(ValueError, match=r"of shape \(None,\) goes to CPU:1"):
        counted_bytes(step.get_concrete_function(tf.TensorSpec([None])).graph)


def test_bounds_of_a_hybrid_step_by_hand():
    gpu = Gpu(float32=1e3, bfloat16=2e3, memory=1e4, link=100.0, host=10.0)
    options = {"precision": "float32", "batch_size": 3, "num_gpus": 4, "image_size": 2}
    bounds = hybrid_bounds(COSTS, gpu, "pool1", "a", **options)
    plain = step_bounds(COSTS, gpu, **options)
    # The same products, a quarter of the fully connected weights, all images' inputs.
    assert bounds.operations == plain.operations
    assert bounds.weight_bytes == (200 + 75 // 4) * 3 * 4
    assert bounds.optimizer_bytes == (200 + 75 // 4) * 5 * 4
    assert bounds.activation_bytes > plain.activation_bytes
    assert bounds.sent_bytes == hybrid_traffic(COSTS, "pool1", 4, 12, 4).total / 4
    assert bounds.least_sent_bytes == bounds.sent_bytes
    in_turns = hybrid_bounds(COSTS, gpu, "pool1", "b", **options)
    assert in_turns.weight_bytes == (200 + 4 * (75 // 4)) * 3 * 4


def test_in_scheme_b_links_wait_for_each_other_and_in_c_they_do_not():
    gpu = Gpu(float32=1e9, bfloat16=1e9, memory=1e9, link=1.0, host=1e9)
    options = {"precision": "float32", "batch_size": 30, "num_gpus": 4, "image_size": 2}
    # Each of 4 GPUs sends 30 images, of 8 numbers and a label, to 3 others.
    activities, labels = 4 * 3 * 30 * 8 * 4, 4 * 3 * 30 * (8 + 4)
    # 4 links at once: outputs of 6 units and 4 classes, gradients of the former and of weights.
    at_once = 3 * 120 * (6 + 4 + 6) * 4 / 4 + 2 * 3 / 4 * 200 * 4
    in_turns = hybrid_bounds(COSTS, gpu, "pool1", "b", **options)
    assert in_turns.sent_bytes == 2 * activities + labels + at_once
    assert in_turns.least_sent_bytes == activities + labels
    assert in_turns.overlapped_seconds == activities + labels
    together = hybrid_bounds(COSTS, gpu, "pool1", "c", **options)
    assert together.sent_bytes == (2 * activities + labels) / 4 + at_once
    assert together.overlapped_seconds == together.sent_bytes


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_computed_is_what_the_graph_sends(run_here, precision):
    report, table = run_here(
        "hybrid_traffic.py",
        *("--model=cifarnet", "--devices=2", "--batch_size=4", f"--precision={precision}"),
    )
    rows = {row["strategy"]: row for row in report["bytes"]}
    assert list(rows) == ["mirrored", "a", "b", "c"]
    assert rows["mirrored"]["computed"] == 2 * 4 * sum(
        # conv1, conv2, fc3, fc4 and logits, with biases
        (5 * 5 * 3 * 64 + 64, 5 * 5 * 64 * 64 + 64, 4096 * 384 + 384, 384 * 192 + 192, 193 * 10)
    )
    for row in rows.values():
        assert row["counted"] == pytest.approx(row["computed"], abs=100)
    assert "NVLink" in table
    kernel, momentum = report["first_fully_connected_layer"]
    assert "momentum" in momentum["variable"]
    for variable in (kernel, momentum):
        assert variable["shape"] == [4096, 384]
        share = {"shape": [4096, 192], "bytes": 4096 * 192 * 4}
        assert variable["shards"] == [{"device": f"CPU:{n}", **share} for n in range(2)]


@pytest.mark.slow
def test_the_losses_of_all_strategies_are_one(run_here):
    report, table = run_here(
        "strategy_losses.py", "--model=cifarnet", "--steps=3", "--batch_size=16"
    )
    assert len(report["results"]) == 9
    for row in report["results"]:
        assert len(row["losses"]) == 3
        assert row["largest_difference"] <= 1e-5
    assert "farthest from 1 device" in table


@pytest.mark.slow
def test_the_speed_of_strategies_is_measured_beside_each_other(run_here):
    report, _ = run_here(
        "strategy_throughput.py",
        *("--model=lenet", "--batch_size=8", "--steps=1", "--runs=1", "--seconds=0"),
    )
    assert [row["strategy"] for row in report["results"]] == [
        *("one device", "mirrored", "hybrid a", "hybrid b", "hybrid c"),
    ]
    assert report["results"][1]["ratio_to_mirrored"] == 1
