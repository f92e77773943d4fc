"""TF-Slim's pipelines against pixels that the original code made of photos.

The photos are Caffe's examples, which lie beside the repository or nowhere, and so do the pixels.
"""

import json
import pathlib

import numpy as np
import pytest

from preprocessing.preprocessing_factory import get_preprocessing

SHARED = pathlib.Path(__file__).resolve().parents[3] / "shared" / "data"
PIXELS = SHARED / "tf_slim_preprocessing.json"


@pytest.mark.parametrize("photo", ["cat.jpg", "cat_gray.jpg", "fish-bike.jpg"])
@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("inception", 299, {}),
        ("inception", 224, {}),
        ("vgg", 224, {}),
        ("vgg", 299, {"resize_side_min": 330}),
        ("cifarnet", 32, {}),
        ("lenet", 28, {}),
    ],
)
def test_evaluation_gives_tf_slims_pixels(photo, name, size, options):
    if not PIXELS.exists():
        pytest.skip(f"there is no {PIXELS}")
    expected = json.loads(PIXELS.read_text())[photo][f"{name}@{size}"]
    contents = (SHARED / "sample_images" / photo).read_bytes()
    image = get_preprocessing(name, **options)(contents, size, size).numpy()
    assert list(image.shape) == expected["shape"]
    assert image.dtype == np.float32
    found = [image[row, column, channel] for row, column, channel, _ in expected["pixels"]]
    np.testing.assert_allclose(found, [value for *_, value in expected["pixels"]], atol=1e-5)
    assert image.mean() == pytest.approx(expected["mean"], abs=1e-5)
    assert (image.min(), image.max()) == pytest.approx((expected["min"], expected["max"]))
