"""The command line: what turns flags into calls of the libraries."""

import os

# TensorFlow turns oneDNN on by itself only on CPUs with AVX-512; on the others it makes these
# networks nearly twice as fast too. It must be said before TensorFlow is imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Keeps TensorFlow's notes on CUDA and rounding out of the way of what the drivers print.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
