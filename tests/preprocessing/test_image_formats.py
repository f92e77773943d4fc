import re

import image_writers
import pytest
import tensorflow as tf

from preprocessing.image_formats import DECODED_FORMATS, NUM_BYTES, image_format, why_not_decoded

PIXELS = tf.zeros([5, 6, 3], tf.uint8)
WRITTEN = {
    "JPEG": tf.io.encode_jpeg(PIXELS).numpy(),
    "PNG": image_writers.png(5, 6),
    "GIF": image_writers.gif((5, 6), [(5, 6)]),
    "BMP": image_writers.bmp(5, 6),
}


def test_what_is_decoded_is_known_by_its_first_bytes():
    # Nothing here writes WebP but Pillow, which may be missing: see the next test.
    assert {*WRITTEN, "WebP"} == {*DECODED_FORMATS}
    for name, contents in WRITTEN.items():
        assert image_format(contents) == name
        assert image_format(contents[:NUM_BYTES]) == name


def test_what_others_write_is_known_too(tmp_path):
    images = pytest.importorskip("PIL.Image", reason="writes images of other formats")
    for name in ("WebP", "TIFF"):
        path = tmp_path / name
        images.new("RGB", (5, 6)).save(path, name)
        assert image_format(path.read_bytes()) == name


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b"\0\0\0\x1cftypisom", None),  # a film
        (b"BMW/red.jpg\nBMW/blue.jpg\n", None),
        (b"", None),
        (b"photos/a.jpg\n", None),
    ],
)
def test_an_image_is_told_from_what_is_none(start, name):
    assert image_format(start) == name


@pytest.mark.parametrize(
    ("contents", "why"),
    [
        (b"", "is empty"),
        (b"%PDF-1.7", "is no image; only JPEG, PNG, WebP, GIF and BMP can be read"),
        (b"\0\0\0\x18ftypheic", "is a HEIC image; only .* can be read: convert it"),
        (b"\0\0\0\x18ftypavif", "is an AVIF image; "),
        (b"RIFF\0\0\0\0WEBPVP8 x", "is a WebP image that is damaged"),
        (b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x12", "is an animated WebP image; only still ones"),
        (b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x10", "is a WebP image that is damaged"),
        (WRITTEN["BMP"][:28] + b"\1\0", "is a BMP image with 1 bits a pixel; 8, 24 and 32"),
        (WRITTEN["BMP"][:40], "is a BMP image that is damaged"),
        (WRITTEN["BMP"][:20], "is a BMP image that is damaged"),
        (WRITTEN["PNG"][:20], "is a PNG image that is damaged"),
    ],
)
def test_it_is_said_why_something_is_not_decoded(contents, why):
    assert re.match(why, why_not_decoded(contents))
