"""Images that the tests of preprocessing share."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

SAMPLE_IMAGES = Path(__file__).parents[3] / "shared" / "data" / "sample_images"


@pytest.fixture(scope="session")
def sample_photos() -> dict[str, bytes]:
    paths = sorted(SAMPLE_IMAGES.glob("*.jpg"))
    if not paths:
        pytest.skip(f"needs photos in {SAMPLE_IMAGES}")
    return {path.name: path.read_bytes() for path in paths}


@pytest.fixture(scope="session")
def texture():
    """Makes uint8 [height, width, 3] with detail in every channel and no noise between pixels."""

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        coarse = np.random.default_rng(seed).uniform(0, 255, (height // 8 + 2, width // 8 + 2, 3))
        smooth = tf.image.resize(coarse, [height, width], tf.image.ResizeMethod.BICUBIC)
        return tf.saturate_cast(smooth, tf.uint8).numpy()

    return make


@pytest.fixture(scope="session")
def coordinates():
    """Makes uint8 [256 * zoom, 256 * zoom, 3] whose red is the row and green the column / zoom."""

    def make(zoom: int = 1) -> np.ndarray:
        rows, columns = np.mgrid[0:256, 0:256]
        image = np.stack([rows, columns, np.full_like(rows, 7)], axis=-1).astype(np.uint8)
        return image.repeat(zoom, axis=0).repeat(zoom, axis=1)

    return make
