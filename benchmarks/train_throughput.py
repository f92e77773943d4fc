"""Images/s of a whole training step (device half, forward, backward, update) on synthetic images.

    python benchmarks/train_throughput.py --models=alexnet,alexnet_v2 --precisions=float32,bfloat16

Prints a table on stderr and JSON on stdout. Beside images/s stands the share of the rate at which
a square matrix product ran in the same process, just before and after: shared machines drift, and
the share carries over where images/s do not.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from training.configuration import TrainingConfig  # sets TensorFlow's environment, so first

# isort: split
import keras
import numpy as np
import tensorflow as tf
import tqdm
from absl import app, flags

from nets import nets_factory
from preprocessing.preprocessing_factory import get_preprocessing
from training import devices
from training.optimizers import make_optimizer
from training.train_step import DTYPE_POLICIES, TrainStep

_MODELS = flags.DEFINE_list("models", ["alexnet", "alexnet_v2"], "Networks to measure.")
_PRECISIONS = flags.DEFINE_list("precisions", ["float32"], "float32, bfloat16, float16.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images a step.", lower_bound=1)
_RUNS = flags.DEFINE_integer("runs", 5, "Timed runs, of which the median counts.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 2, "Steps in a run.", lower_bound=1)

_MATRIX_SIZE = 2048


def main(arguments: list[str]) -> None:
    """Measures and prints."""
    del arguments
    rows = []
    cases = [(model, precision) for model in _MODELS.value for precision in _PRECISIONS.value]
    for model, precision in tqdm.tqdm(cases, unit="case"):
        rows.append(measure(model, precision))
        keras.backend.clear_session()
    for row in rows:
        print(
            f"{row['model']:<14} {row['precision']:<9} {row['images_per_second']:8.1f} images/s "
            f"(from {row['slowest']:.1f} to {row['fastest']:.1f}), "
            f"{row['share_of_matrix_product']:6.1%} of a matrix product's "
            f"{row['matrix_product_gflops']:.0f} GFLOP/s",
            file=sys.stderr,
        )
    machine = {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "processor": _processor(),
        "devices": [device.device_type for device in tf.config.list_physical_devices()],
    }
    print(json.dumps({"machine": machine, "batch_size": _BATCH_SIZE.value, "results": rows}))


def measure(model: str, precision: str) -> dict[str, Any]:
    """Measures one network in one precision."""
    take_step, operations_per_image = _make_step(model, precision)
    batch_size, steps = _BATCH_SIZE.value, _STEPS.value

    def run() -> None:
        for _ in range(steps):
            outcome = take_step()
        float(outcome["loss"])  # waits for the device

    before = _matrix_product_gflops(precision)
    seconds = _times(run, _RUNS.value)
    gflops = statistics.median([before, _matrix_product_gflops(precision)])
    rates = [steps * batch_size / second for second in seconds]
    rate = statistics.median(rates)
    return {
        "model": model,
        "precision": precision,
        "images_per_second": rate,
        "slowest": min(rates),
        "fastest": max(rates),
        "matrix_product_gflops": gflops,
        "share_of_matrix_product": rate * operations_per_image / (gflops * 1e9),
    }


def _make_step(model: str, precision: str) -> tuple[Callable[[], dict[str, tf.Tensor]], float]:
    config = TrainingConfig(
        model_name=model, batch_size=_BATCH_SIZE.value, mixed_precision=precision
    )
    strategy = devices.make_strategy(num_replicas=1)
    with strategy.scope():
        network_fn = nets_factory.get_network_fn(model, dtype_policy=DTYPE_POLICIES[precision])
        trainable = list(network_fn.variables.values())
        optimizer = make_optimizer(config)
        optimizer.build(trainable)
    preprocessing = get_preprocessing(network_fn.preprocessing_name, is_training=True)
    size = network_fn.default_image_size
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, [size, size, 3], np.uint8)
    example = preprocessing.host(pixels, size, size, seed=[0, 0])
    batch = {
        **{
            key: tf.repeat(value[tf.newaxis], config.batch_size, 0)
            for key, value in example.items()
        },
        "label": tf.constant(generator.integers(0, 1000, config.batch_size)),
        "weight": tf.ones([config.batch_size]),
    }
    step = TrainStep(config, strategy, network_fn, trainable, optimizer, preprocessing, {})
    rate = tf.constant(1e-4)
    return lambda: step(batch, rate, tf.constant(0)), _operations(network_fn)


def _operations(network_fn: nets_factory.NetworkFn) -> float:
    """Of a step on one image: each weight is used once at every position, three times over.

    Forward, for the gradient of the weights and for that of the inputs, which the first layer does
    not need; a multiply-add is two operations.
    """
    size = network_fn.default_image_size
    _, end_points = network_fn(tf.zeros([1, size, size, 3]))
    positions = {
        name.rpartition("/")[2]: value.shape[1] * value.shape[2] if value.shape.rank == 4 else 1
        for name, value in end_points.items()
    }
    multiply_adds = [
        float(np.prod(layer.kernel.shape)) * positions[layer.name]
        for layer in network_fn.model.layers
        if hasattr(layer, "kernel")
    ]
    return 2 * (3 * sum(multiply_adds) - multiply_adds[0])


def _matrix_product_gflops(precision: str) -> float:
    dtype = tf.as_dtype(precision)
    matrix = tf.cast(tf.random.normal([_MATRIX_SIZE, _MATRIX_SIZE]), dtype)
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)))
    seconds = statistics.median(_times(lambda: product().numpy(), 7))
    return 2 * _MATRIX_SIZE**3 / seconds / 1e9


def _times(run: Callable[[], None], runs: int) -> list[float]:
    """Seconds of each run after one that is not counted."""
    run()
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return seconds


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    app.run(main)
