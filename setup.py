"""Installs the packages, and the drivers as commands that work from anywhere."""

import pathlib
import re

import setuptools

_HERE = pathlib.Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.*)"', (_HERE / "slimzoo" / "__init__.py").read_text(encoding="utf-8")
).group(1)

# With slimzoo_registry they are all that is installed at the top level.
PACKAGES = ["nets", "preprocessing", "image_datasets", "weight_formats", "training", "slimzoo"]

DRIVERS = [
    "train_image_classifier",
    "eval_image_classifier",
    "export_saved_model",
    "classify_images",
    "prepare_dataset",
    "compute_dataset_statistics",
    "convert_weights",
]

setuptools.setup(
    name="slimzoo",
    version=VERSION,
    description="TF-Slim's model zoo reborn on TensorFlow 2 and Keras 3, AlexNet first.",
    long_description=(_HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=setuptools.find_packages(
        include=[pattern for name in PACKAGES for pattern in (name, f"{name}.*")]
    ),
    package_data={
        **{name: ["py.typed", "*.tsv"] for name in PACKAGES},
        "training.evaluation_report": ["templates/*"],
        "training.zoo": ["*.tsv"],
    },
    py_modules=["slimzoo_registry"],
    python_requires=">=3.11",
    # Tested with TensorFlow 2.21.0, Keras 3.15.1, TFDS 4.9.10, absl-py 2.5.1, NumPy 2.4.6,
    # tqdm 4.70.1, plotly 7.1.0 and Jinja2 3.1.6. The upper bounds are where an interface may
    # change.
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<3.16",
        "tensorflow-datasets>=4.9.10,<5",
        "importlib_resources",  # tensorflow-datasets needs it and does not ask for it
        "absl-py>=2",
        "numpy>=2,<3",
        "jinja2>=3",
        "flatbuffers",  # TensorFlow needs it as well
        "h5py",  # TensorFlow and Keras need these two as well
        "ml_dtypes",
        "tqdm>=4.60",
        "plotly>=6",  # the charts of an evaluation's report, and its page
    ],
    extras_require={
        "tensorboard": ["tensorboard"],
        # To run what export_saved_model writes; TensorFlow itself converts to TFLite.
        "tflite": ["ai-edge-litert", "pillow"],
        "onnx": ["tf2onnx>=1.17", "onnx", "onnxruntime", "pillow"],
        "test": ["pytest>=8", "pytest-xdist>=3.5", "pillow"],
        # Pinned: a newer one may refuse what the pinned one accepts.
        "dev": [
            "pytest>=8",
            "pytest-xdist>=3.5",
            "pillow",
            "ruff==0.17.6",
            "mypy==2.4.1",
            "pre-commit",
        ],
        # TensorFlow with the CUDA libraries that it needs, as wheels.
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
        "bench": ["torch", "tf-slim", "matplotlib"],
    },
    entry_points={
        "console_scripts": [f"{driver} = slimzoo.drivers:{driver}" for driver in DRIVERS]
    },
)
