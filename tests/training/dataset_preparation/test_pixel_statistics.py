import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from training.dataset_preparation import pixel_statistics
from training.dataset_preparation.pixel_statistics import (
    DatasetStatistics,
    PixelSums,
    pixel_products,
)

SIZE = 12


@pytest.fixture
def images():
    """Coloured images whose channels are correlated, with the extremes of uint8 among them."""
    generator = np.random.default_rng(0)
    grey = generator.normal(120, 60, (9, SIZE, SIZE, 1))
    colour = generator.normal(0, 30, (9, SIZE, SIZE, 3)) * [1.5, 1, 0.5]
    images = np.clip(grey + colour, 0, 255).astype(np.uint8)
    images[0], images[1] = 0, 255
    return images


def sums_of(images):
    sums = PixelSums(images.shape[1])
    for image in images:
        sums.add(image, pixel_products(image).numpy())
    return sums


def test_the_statistics_are_those_of_numpy(images, tmp_path):
    sums = sums_of(images)
    statistics = pixel_statistics.write_statistics(str(tmp_path), {"train": sums}, "train")
    pixels = images.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(statistics.mean_rgb, pixels.mean(axis=0), rtol=1e-15)
    covariance = np.cov(pixels, rowvar=False, bias=True)
    np.testing.assert_allclose(statistics.covariance_rgb, covariance, rtol=1e-13)
    deviations = np.array(statistics.color_deviations)
    assert list(deviations) == sorted(deviations, reverse=True)
    components = np.array(statistics.color_components)
    np.testing.assert_allclose(components.T @ components, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(components * deviations**2 @ components.T, covariance, rtol=1e-10)
    # What a deviation is: that of the pixels along its component.
    np.testing.assert_allclose((pixels @ components).std(axis=0), deviations, rtol=1e-10)
    assert all(column[np.abs(column).argmax()] > 0 for column in components.T)

    mean_image = np.load(tmp_path / pixel_statistics.MEAN_IMAGE_NAME)
    assert mean_image.dtype == np.float32
    np.testing.assert_array_equal(mean_image, images.mean(axis=0).astype(np.float32))


@pytest.mark.parametrize("size", [256, 1000])
def test_the_largest_products_are_exact(size):
    products = pixel_products(tf.fill([size, size, 3], tf.constant(255, tf.uint8)))
    assert products.dtype == tf.int64
    np.testing.assert_array_equal(products, np.full((3, 3), 255 * 255 * size * size))


def test_products_are_exact_whatever_the_order_of_the_sum():
    image = np.random.default_rng(1).integers(0, 256, (253, 261, 3), dtype=np.uint8)
    pixels = image.reshape(-1, 3).astype(np.int64)
    np.testing.assert_array_equal(pixel_products(image), pixels.T @ pixels)


def test_sums_of_more_images_than_64_bits_can_square():
    # A hundred million white and as many black images of 256x256: the square of the number of
    # pixels alone has 87 bits.
    sums = PixelSums(256)
    sums.num_images = 2 * 10**8
    sums.positions += 10**8 * 255
    sums.products += 10**8 * 65025 * 65536
    statistics = DatasetStatistics.from_sums(sums)
    assert statistics.mean_rgb == [127.5] * 3
    assert statistics.covariance_rgb == [[127.5**2] * 3] * 3
    assert statistics.color_deviations == pytest.approx([127.5 * 3**0.5, 0, 0], abs=1e-5)


def test_parts_that_were_kept_and_merged_are_the_whole(images):
    whole = sums_of(images)
    merged = PixelSums(SIZE)
    for part in (images[:4], images[4:]):
        merged.merge(PixelSums.from_arrays(sums_of(part).arrays()))
    assert merged.num_images == whole.num_images
    np.testing.assert_array_equal(merged.positions, whole.positions)
    assert DatasetStatistics.from_sums(merged) == DatasetStatistics.from_sums(whole)


def test_large_sums_survive_being_kept():
    sums = PixelSums(1)
    sums.positions += 2**40
    np.testing.assert_array_equal(PixelSums.from_arrays(sums.arrays()).positions, sums.positions)


def test_the_file_has_the_training_split_first_and_every_split(images, tmp_path):
    sums = {"validation": sums_of(images[:2]), "train": sums_of(images), "test": PixelSums(SIZE)}
    statistics = pixel_statistics.write_statistics(str(tmp_path), sums, "train")
    document = json.loads((tmp_path / pixel_statistics.STATISTICS_NAME).read_text())
    assert document["split"] == "train"
    assert document["mean_rgb"] == statistics.mean_rgb
    assert set(document["splits"]) == {"train", "validation"}  # test has no images
    assert document["splits"]["validation"]["mean_rgb"] == [127.5] * 3
    for path in (tmp_path, tmp_path / pixel_statistics.STATISTICS_NAME):
        assert pixel_statistics.load_statistics(str(path)) == statistics


def test_what_is_no_statistics_is_said(tmp_path):
    with pytest.raises(ValueError, match="no images"):
        DatasetStatistics.from_sums(PixelSums(SIZE))
    with pytest.raises(ValueError, match=r"nowhere.json: the file does not exist"):
        pixel_statistics.load_statistics(str(tmp_path / "nowhere.json"))
    for contents in (b"{}", b"[1]", b"no JSON", b"", b"\xff", b"[" * 100_000, b'{"mean_rgb": NaN}'):
        (tmp_path / "other.json").write_bytes(contents)
        with pytest.raises(ValueError, match=r"must be JSON with num_images, image_size, mean_rgb"):
            pixel_statistics.load_statistics(str(tmp_path / "other.json"))


WRONG_VALUES = ("3", None, True, [], {}, ["1", "2", "3"], [1, 2, None], [[1, 2, "3"]] * 3, 10**400)


@pytest.mark.parametrize("field", dataclasses.fields(DatasetStatistics), ids=lambda one: one.name)
def test_a_value_of_a_wrong_type_is_named(images, tmp_path, field):
    pixel_statistics.write_statistics(str(tmp_path), {"train": sums_of(images)}, "train")
    path = tmp_path / pixel_statistics.STATISTICS_NAME
    document = json.loads(path.read_text())
    for value in WRONG_VALUES:
        if field.name in ("num_images", "image_size") and value == 10**400:
            continue  # a whole number as they are
        path.write_text(json.dumps({**document, field.name: value}))
        with pytest.raises(
            ValueError, match=f"does not hold dataset statistics: .*{field.name} is"
        ):
            pixel_statistics.load_statistics(str(path))
