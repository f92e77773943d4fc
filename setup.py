"""Installs the packages, and the drivers as commands that work from anywhere."""

import pathlib

import setuptools

DRIVERS = [
    "train_image_classifier",
    "eval_image_classifier",
    "export_saved_model",
    "prepare_dataset",
    "compute_dataset_statistics",
    "convert_weights",
]

setuptools.setup(
    name="slimzoo",
    version="0.1.0",
    description="TF-Slim's model zoo reborn on TensorFlow 2 and Keras 3, AlexNet first.",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=[
        "nets",
        "preprocessing",
        "image_datasets",
        "weight_formats",
        "training",
        "training.checkpoints",
        "training.dataset_preparation",
        "slimzoo",
        "slimzoo.commands",
    ],
    py_modules=["slimzoo_registry", *DRIVERS],
    python_requires=">=3.11",
    # Tested with TensorFlow 2.21.0, Keras 3.15.1, TFDS 4.9.10, absl-py 2.5.1, NumPy 2.4.6 and
    # tqdm 4.70.1. The upper bounds are where an interface may change.
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<4",
        "tensorflow-datasets>=4.9.10,<5",
        "importlib_resources",  # tensorflow-datasets needs it and does not ask for it
        "absl-py>=2",
        "numpy>=2,<3",
        "h5py",  # TensorFlow and Keras need these two as well
        "ml_dtypes",
        "tqdm>=4.60",
    ],
    extras_require={
        "tensorboard": ["tensorboard"],
        "test": ["pytest>=8", "pillow"],
        "dev": ["pytest>=8", "pillow", "ruff", "mypy", "pre-commit"],
        "bench": ["torch", "tf-slim", "matplotlib"],
    },
    entry_points={"console_scripts": [f"{driver} = {driver}:main" for driver in DRIVERS]},
)
