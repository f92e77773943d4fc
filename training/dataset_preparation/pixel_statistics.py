"""Statistics of a dataset's pixels: sums that are exact, and the file that is made of them.

The sums are integers, so that they do not depend on the order of the images, and a pass that was
interrupted and resumed, or divided, gives the same digits as one in a single piece.

    sums = PixelSums(256)
    for image in images:  # uint8 [256, 256, 3]
        sums.add(image, pixel_products(image).numpy())
    write_statistics(folder, {"train": sums}, "train")
"""

from __future__ import annotations

import dataclasses
import fractions
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.storage.json_files import make_dataclass, read_object
from training.storage.whole_files import write_text

STATISTICS_NAME = "dataset_statistics.json"
MEAN_IMAGE_NAME = "mean_image.npy"

Integers = npt.NDArray[np.integer[Any]]


def pixel_products(image: tf.Tensor) -> tf.Tensor:
    """Sums the products of every two channels over all pixels of an image.

    Args:
      image: uint8 [height, width, 3], of at most 2**37 pixels.

    Returns:
      int64 [3, 3], symmetric: entry (i, j) is the sum of channel i times channel j.
    """
    # Every partial sum is an integer below 2**53, so that float64 rounds nothing; TensorFlow
    # multiplies integer matrices far more slowly.
    pixels = tf.cast(tf.reshape(image, [-1, 3]), tf.float64)
    return tf.cast(tf.matmul(pixels, pixels, transpose_a=True), tf.int64)


class PixelSums:
    """Sums over images of one size; `add` and `merge` fill them.

    Args:
      image_size: height and width of the images, in pixels.

    Attributes:
      num_images: that were added.
      products: int64 [3, 3], the sum of `pixel_products`.
      positions: int64 [image_size, image_size, 3], the sum of the images.
    """

    def __init__(self, image_size: int):
        self.num_images = 0
        self.products: Integers = np.zeros((3, 3), np.int64)
        self.positions: Integers = np.zeros((image_size, image_size, 3), np.int64)

    def add(self, image: npt.NDArray[np.uint8], products: Integers) -> None:
        """Adds an image, uint8 [image_size, image_size, 3], and its `pixel_products`."""
        self.num_images += 1
        self.products += products
        self.positions += image

    def merge(self, other: PixelSums) -> None:
        """Adds what was added to `other`."""
        self.num_images += other.num_images
        self.products += other.products
        self.positions += other.positions

    def arrays(self) -> dict[str, Integers]:
        """Returns the sums as arrays that a file can keep and `from_arrays` takes."""
        positions = self.positions
        if positions.max(initial=0) < 2**32:
            positions = positions.astype(np.uint32)  # of a few million images: half the bytes
        return {
            "num_images": np.array(self.num_images),
            "products": self.products,
            "positions": positions,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Integers]) -> PixelSums:
        """Returns the sums whose `arrays` these are."""
        sums = cls(arrays["positions"].shape[0])
        sums.num_images = int(arrays["num_images"])
        sums.products += arrays["products"]
        sums.positions += arrays["positions"].astype(np.int64)
        return sums


@dataclasses.dataclass(frozen=True)
class DatasetStatistics:
    """Statistics of RGB values from 0 to 255, over every pixel of every image.

    Attributes:
      num_images: that were counted.
      image_size: their height and width, in pixels.
      mean_rgb: the mean of R, G and B.
      covariance_rgb: rows and columns R, G, B; divided by the number of pixels.
      color_deviations: standard deviations along the principal components, largest first: the
        square roots of the covariance's eigenvalues.
      color_components: the eigenvectors: a row for each of R, G, B and a column, of length 1,
        for each deviation. In each column the entry of largest magnitude is positive.
    """

    num_images: int
    image_size: int
    mean_rgb: list[float]
    covariance_rgb: list[list[float]]
    color_deviations: list[float]
    color_components: list[list[float]]

    @classmethod
    def from_sums(cls, sums: PixelSums) -> DatasetStatistics:
        """Computes the statistics; mean and covariance are the true ones rounded once.

        Raises:
          ValueError: if no image was added.
        """
        if not sums.num_images:
            raise ValueError("There are no images to compute statistics of.")
        size = sums.positions.shape[0]
        pixels = sums.num_images * size * size
        # Python's integers: pixels * products is beyond 64 bits for a million images, and the
        # difference of two such numbers would have few right digits in floating point.
        totals = [int(total) for total in sums.positions.sum(axis=(0, 1), dtype=np.int64)]
        covariance = np.array(
            [
                [
                    float(
                        fractions.Fraction(
                            pixels * int(sums.products[i, j]) - totals[i] * totals[j], pixels**2
                        )
                    )
                    for j in range(3)
                ]
                for i in range(3)
            ]
        )
        variances, components = np.linalg.eigh(covariance)
        variances, components = variances[::-1], components[:, ::-1]
        largest = np.abs(components).argmax(axis=0)
        components = components * np.sign(components[largest, range(3)])
        return cls(
            num_images=sums.num_images,
            image_size=size,
            mean_rgb=[float(fractions.Fraction(total, pixels)) for total in totals],
            covariance_rgb=covariance.tolist(),
            # Of grey images two variances are zero, and may come out just below.
            color_deviations=np.sqrt(np.maximum(variances, 0)).tolist(),
            color_components=components.tolist(),
        )

    def __str__(self) -> str:
        mean = ", ".join(f"{value:.3f}" for value in self.mean_rgb)
        deviations = ", ".join(f"{value:.3f}" for value in self.color_deviations)
        return f"mean RGB {mean}; color deviations {deviations}"


def mean_image(sums: PixelSums) -> npt.NDArray[np.float32]:
    """Returns the mean of the images that were added, float32 [image_size, image_size, 3]."""
    return (sums.positions / sums.num_images).astype(np.float32)


def write_statistics(
    folder: str, sums: Mapping[str, PixelSums], training_split: str, **description: Any
) -> DatasetStatistics:
    """Writes `dataset_statistics.json` and `mean_image.npy` into `folder`.

    The JSON file holds the fields of `DatasetStatistics` for the training split, the name of that
    split as "split", and under "splits" the same fields for every split that has images.

    Args:
      folder: that exists.
      sums: of each split.
      training_split: whose statistics and mean image are those of the dataset.
      **description: what else the JSON file says.

    Returns:
      The statistics of the training split.

    Raises:
      ValueError: if the training split has no images.
    """
    splits = {
        split: DatasetStatistics.from_sums(split_sums)
        for split, split_sums in sums.items()
        if split_sums.num_images or split == training_split
    }
    document = {
        **description,
        "split": training_split,
        **dataclasses.asdict(splits[training_split]),
        "splits": {split: dataclasses.asdict(statistics) for split, statistics in splits.items()},
    }
    temporary = os.path.join(folder, f"{MEAN_IMAGE_NAME}.incomplete")
    with open(temporary, "wb") as file:
        np.save(file, mean_image(sums[training_split]))
    os.replace(temporary, os.path.join(folder, MEAN_IMAGE_NAME))
    write_text(os.path.join(folder, STATISTICS_NAME), json.dumps(document, indent=2) + "\n")
    return splits[training_split]


def mean_image_path(path: str) -> str:
    """Where the mean image of the statistics in a folder or JSON file is."""
    path = os.path.expanduser(path)
    return os.path.join(path if os.path.isdir(path) else os.path.dirname(path), MEAN_IMAGE_NAME)


def dataset_of_statistics(path: str) -> str:
    """The name of the dataset that a file, or the file in a folder, has the statistics of."""
    document = read_object(_statistics_file(path))
    return str(document.get("dataset_name", "a dataset without a name"))


def load_statistics(path: str) -> DatasetStatistics:
    """Reads the training split's statistics from a file that `write_statistics` wrote.

    Args:
      path: of the JSON file, or of the folder that holds it.

    Raises:
      ValueError: if there is no such file or it is no statistics file.
    """
    file = _statistics_file(path)
    if not file.is_file():
        raise ValueError(f"There are no dataset statistics in {file}: the file does not exist.")
    names = [field.name for field in dataclasses.fields(DatasetStatistics)]
    try:
        document = read_object(file)
        document |= {
            name.replace("colour", "color"): value  # as earlier files have them
            for name, value in document.items()
            if name.startswith("colour_")
        }
        known = {name: value for name, value in document.items() if name in names}
        statistics = make_dataclass(DatasetStatistics, known)
        _check(statistics)
        return statistics
    except ValueError as error:
        raise ValueError(
            f"{file} does not hold dataset statistics: {error}. It must be JSON with "
            f"{', '.join(names)}."
        ) from error


def _check(statistics: DatasetStatistics) -> None:
    """Raises ValueError if they are not what their names say."""
    for name in ("mean_rgb", "color_deviations"):
        if np.array(getattr(statistics, name), np.float64).shape != (3,):
            raise ValueError(f"{name} is not three numbers")
    for name in ("covariance_rgb", "color_components"):
        if np.array(getattr(statistics, name), np.float64).shape != (3, 3):
            raise ValueError(f"{name} is not three rows of three numbers")
    if min(np.diag(statistics.covariance_rgb)) < 0:
        raise ValueError("a variance is negative")


def _statistics_file(path: str) -> pathlib.Path:
    file = pathlib.Path(path).expanduser()
    return file / STATISTICS_NAME if file.is_dir() else file
