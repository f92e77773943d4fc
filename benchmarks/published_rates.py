"""What others have published of their speed."""

from __future__ import annotations

from typing import NamedTuple

# Images/s of tf_cnn_benchmarks' alexnet: without normalisation or groups, as alexnet_v2; float32.
TF_CNN_BENCHMARKS = {
    "source": "https://www.tensorflow.org/performance/benchmarks of 2017, which is "
    "docs_src/performance/benchmarks.md in TensorFlow's repository at 6535ed7",
    "batch_size_per_gpu": 512,
    "data": "synthetic",
    "rows": [
        {"gpu": "P100 (DGX-1)", "gpus": 1, "images_per_second": 2987},
        {"gpu": "P100 (DGX-1)", "gpus": 8, "images_per_second": 17822},
        {"gpu": "K80 (Google Compute Engine)", "gpus": 1, "images_per_second": 656},
        {"gpu": "K80 (Google Compute Engine)", "gpus": 8, "images_per_second": 4640},
    ],
}


class OneWeirdTrickRow(NamedTuple):
    """A row of table 1 of "One weird trick".

    Attributes:
      gpus: K20, in one host.
      convolutions_batch_size: images of all GPUs in a step.
      fc_batch_size: images in an update of the fully connected layers.
      cross_entropy: on the validation images.
      top_1_error: in percent, of the centres of the validation images.
      hours: of the whole training.
      speedup: as the paper rounds it.
    """

    gpus: int
    convolutions_batch_size: int
    fc_batch_size: int
    cross_entropy: float
    top_1_error: float
    hours: float
    speedup: float


# Krizhevsky, "One weird trick for parallelizing convolutional neural networks": of scheme b.
ONE_WEIRD_TRICK_SOURCE = "https://arxiv.org/abs/1404.5997v2, table 1"
ONE_WEIRD_TRICK = [
    OneWeirdTrickRow(1, 128, 128, 2.611, 42.33, 98.05, 1),
    OneWeirdTrickRow(2, 256, 256, 2.624, 42.63, 50.24, 1.95),
    OneWeirdTrickRow(2, 256, 128, 2.614, 42.27, 50.90, 1.93),
    OneWeirdTrickRow(4, 512, 512, 2.637, 42.59, 26.20, 3.74),
    OneWeirdTrickRow(4, 512, 128, 2.625, 42.44, 26.78, 3.66),
    OneWeirdTrickRow(8, 1024, 1024, 2.678, 43.28, 15.68, 6.25),
    OneWeirdTrickRow(8, 1024, 128, 2.651, 42.86, 15.91, 6.16),
]
