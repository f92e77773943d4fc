"""What others have published of their speed."""

from __future__ import annotations

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
