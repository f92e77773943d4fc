"""What the machine can do at most: a square matrix product and a copy of memory.

They run by turns with what is measured, in the same rounds, so that a share of them carries over
to another machine, or another hour, where images/s do not.
"""

from __future__ import annotations

import concurrent.futures
import importlib.util
import os
from typing import Any

import numpy as np

from contenders import Contender
from measuring import Case
from workloads import LeftOutError, Repetition, Workload

# Large enough for a library to reach its best rate, small enough for a round to be short.
_MATRIX_SIZE_ON_CPU = 2048
_MATRIX_SIZE_ON_GPU = 8192

# Many times larger than any cache.
_COPIED_BYTES = 2**28

_MEMORY_COPY = "memory copy"


def ceilings(precision: str) -> list[Contender]:
    """The ceilings that belong beside a measurement in this precision.

    A matrix product in TensorFlow, in PyTorch where it is installed (either may have the faster
    one), and a memory copy.
    """
    products = [
        Contender(name, f"ceilings:{function}", {"precision": precision})
        for package, name, function in (
            ("tensorflow", "matrix product, tensorflow", "tensorflow_matrix_product"),
            ("torch", "matrix product, pytorch", "pytorch_matrix_product"),
        )
        if importlib.util.find_spec(package)
    ]
    return [*products, Contender(_MEMORY_COPY, "ceilings:memory_copy")]


def ceiling_figures(case: Case) -> dict[str, Any]:
    """What a report says of the ceilings in a case.

    Returns:
      "matrix_product_gflops", the median of the fastest library, and "matrix_product_library";
      "memory_copy_gb_per_second", bytes read and bytes written; and all the figures of each.
      What was not measured is missing.
    """
    names = [contender for contender in case.measurements if contender.startswith("matrix product")]
    figures: dict[str, Any] = {
        name: case.measurements[name].figures("operations_per_second") for name in names
    }
    if fastest := case.fastest(names):
        figures["matrix_product_gflops"] = fastest.median / 1e9
        figures["matrix_product_library"] = fastest.contender.name.rpartition(" ")[2]
    if copy := case.measurements.get(_MEMORY_COPY):
        figures[_MEMORY_COPY] = copy.figures("bytes_per_second")
        figures["memory_copy_gb_per_second"] = copy.median / 1e9
    return figures


def matrix_product_rates(case: Case) -> list[float] | None:
    """Operations a second of the fastest library's matrix product in each round."""
    fastest = case.fastest([name for name in case.measurements if name.startswith("matrix")])
    return fastest.rates if fastest else None


def tensorflow_matrix_product(precision: str) -> Workload:
    """Square matrices multiplied by TensorFlow; the unit is an operation."""
    import tensorflow as tf

    size = _matrix_size(bool(tf.config.list_physical_devices("GPU")))
    matrix = tf.cast(tf.random.normal([size, size]), precision)
    # Reading one element waits for all of them and costs nothing.
    product = tf.function(lambda: tf.matmul(matrix, matrix)[0, 0])
    return Repetition(lambda: product().numpy(), 2 * size**3, {"matrix_size": size})


def pytorch_matrix_product(precision: str) -> Workload:
    """Square matrices multiplied by PyTorch; the unit is an operation."""
    try:
        import torch
    except ImportError as error:
        raise LeftOutError(f"PyTorch cannot be imported: {error}") from error
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU, TensorFlow's default
    on_gpu = torch.cuda.is_available()
    size = _matrix_size(on_gpu)
    matrix = torch.randn(size, size, device="cuda" if on_gpu else "cpu")
    matrix = matrix.to(getattr(torch, precision))
    product = torch.empty_like(matrix)

    def multiply() -> float:
        torch.mm(matrix, matrix, out=product)
        return product[0, 0].item()

    return Repetition(multiply, 2 * size**3, {"matrix_size": size})


def memory_copy() -> Workload:
    """A copy of an array, on the GPU if there is one; the unit is a byte read or written."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        source = tf.zeros([_COPIED_BYTES // 4])

        def copy_on_gpu() -> None:
            for _ in range(9):
                tf.raw_ops.AddV2(x=source, y=1.0)  # tf.identity would copy nothing
            tf.raw_ops.AddV2(x=source, y=1.0)[0].numpy()

        return Repetition(copy_on_gpu, 10 * 2 * _COPIED_BYTES)

    source = np.ones(_COPIED_BYTES, np.uint8)
    target = np.zeros_like(source)
    # One core alone may not fill the memory's bandwidth; NumPy lets go of Python's lock.
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    parts = list(
        zip(np.array_split(target, num_cores), np.array_split(source, num_cores), strict=True)
    )
    pool = concurrent.futures.ThreadPoolExecutor(num_cores)
    return Repetition(
        lambda: list(pool.map(lambda part: np.copyto(*part), parts)), 2 * _COPIED_BYTES
    )


def _matrix_size(on_gpu: bool) -> int:
    return _MATRIX_SIZE_ON_GPU if on_gpu else _MATRIX_SIZE_ON_CPU
