"""Sizes by header, held to what the decoder makes of the same file."""

import io
import struct

import image_writers
import numpy as np
import pytest
import tensorflow as tf

from preprocessing import decoding
from preprocessing.image_sizes import limited, num_pixels, too_large

TEXT = bytes([0x21, 0xFE, 3]) + b"abc" + bytes([2]) + b"de" + b"\0"  # a GIF's comment
BLACK = np.zeros((20, 30, 3), np.uint8)


# Traced once: eager conditions are traced anew for each image.
traced_num_pixels = tf.function(num_pixels, input_signature=[tf.TensorSpec([], tf.string)])


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode_or_weight(contents):
    """The weight that a pipeline of tf.data gives an image."""

    def decode(contents):
        return {"shape": tf.shape(decoding.decode(limited(contents, 10**6)))}

    return decoding.decode_or_zeros(contents, decode)[1]


def webp(**options):
    pil_image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    try:
        pil_image.fromarray(BLACK).save(file, "WEBP", **options)
    except (KeyError, OSError):
        pytest.skip("this Pillow writes no WebP")
    return file.getvalue()


WHOLE = {
    "jpeg": lambda: tf.io.encode_jpeg(BLACK).numpy(),
    "jpeg grey": lambda: tf.io.encode_jpeg(BLACK[..., :1]).numpy(),
    "progressive jpeg": lambda: tf.io.encode_jpeg(BLACK, progressive=True).numpy(),
    "png": lambda: image_writers.png(30, 20),
    "png 16 bits": lambda: tf.io.encode_png(BLACK.astype(np.uint16)).numpy(),
    "gif": lambda: image_writers.gif((30, 20), [(30, 20)]),
    "gif with a comment": lambda: image_writers.gif((30, 20), [(30, 20)], extension=TEXT),
    "gif with colors of its frame": lambda: image_writers.gif((9, 9), [(30, 20)], b"", True),
    "gif on a large screen": lambda: image_writers.gif((60_000, 60_000), [(30, 20)]),
    "gif on a small screen": lambda: image_writers.gif((3, 2), [(30, 20)]),
    "gif whose second frame is larger": lambda: image_writers.gif((3, 2), [(3, 2), (30, 20)]),
    "gif of a wide and a high frame": lambda: image_writers.gif((3, 2), [(30, 2), (3, 20)]),
    "bmp": lambda: image_writers.bmp(30, 20),
    "bmp from the top": lambda: image_writers.bmp(30, -20),
    "webp": webp,
    "webp lossless": lambda: webp(lossless=True),
    "webp extended": lambda: webp(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_the_size_is_that_of_the_decoded_image(name):
    contents = tf.constant(WHOLE[name]())
    assert decoding.decode(contents).shape == (20, 30, 3)
    assert int(traced_num_pixels(contents)) == 600


def test_frames_count_a_third_of_a_pixel_where_they_are_many():
    frames = image_writers.gif((30, 20), [(30, 20)] * 12, extension=TEXT)
    assert int(traced_num_pixels(tf.constant(frames))) == 12 * 600 // 3


HEADERS = {
    # More than an int32 holds, and more than the square of one.
    "png": (image_writers.png(1, 1, said=(65_536, 65_536)), 2**32),
    "png, the most": (image_writers.png(1, 1, said=(2**31 - 1, 2**31 - 1)), (2**31 - 1) ** 2),
    "bmp": (image_writers.bmp(1, 1)[:18] + struct.pack("<ii", 65_536, -65_536), 2**32),
    "bmp, the least": (image_writers.bmp(1, 1)[:18] + struct.pack("<ii", 1, -(2**31)), 2**31),
    "gif": (b"GIF89a" + bytes(7) + b"," + struct.pack("<4H", 0, 0, 65_535, 65_535), 65_535**2),
    "webp": (b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\xff" * 6, 2**48),
    "png with another chunk first": (
        image_writers.png(30, 20, first=image_writers.png_chunk(b"prIv", b"x")),
        tf.int64.max,
    ),
    "webp of no kind": (b"RIFF\0\0\0\0WEBP" + bytes(40), tf.int64.max),
}


@pytest.mark.parametrize("name", HEADERS)
def test_what_a_header_says_is_believed_before_memory_is_taken(name):
    contents, expected = HEADERS[name]
    assert int(traced_num_pixels(tf.constant(contents))) == expected
    with pytest.raises(tf.errors.InvalidArgumentError, match="max_image_pixels=1000"):
        limited(tf.constant(contents), 1000)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_of_more_pixels_than_an_int32_counts(progressive):
    whole = tf.io.encode_jpeg(BLACK, progressive=progressive).numpy()
    size = struct.pack(">HH", 20, 30)
    assert whole.count(size) == 1
    large = tf.constant(whole.replace(size, struct.pack(">HH", 65_500, 65_500)))
    assert int(traced_num_pixels(large)) == 65_500**2


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_torn_is_left_to_the_decoder(name):
    whole = WHOLE[name]()
    assert decode_or_weight(tf.constant(whole)) == 1
    for length in range(min(30, len(whole))):
        assert decode_or_weight(tf.constant(whole[:length])) == 0, length


def test_the_limit_itself_is_allowed_and_zero_is_none():
    contents = tf.constant(image_writers.png(30, 20))
    assert limited(contents, 600) == limited(contents, 0) == contents
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"max_image_pixels=599.*600"):
        tf.function(lambda c: limited(c, 599))(contents)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[600\] \[example\] \[17\]"):
        limited(contents, 599, "example", tf.constant(17))


def test_the_flag_that_allows_an_image_is_named():
    assert "has 4,000 pixels, more than --max_image_pixels=599." in too_large(4000, 599)
    assert too_large(4000, 599).endswith("give --max_image_pixels=4000.")
    assert too_large(tf.int64.max, 599) == "its header does not tell how large it is."


def test_pixels_that_have_their_memory_already_are_left_alone():
    pixels = tf.zeros([20, 30, 3], tf.uint8)
    assert limited(pixels, 1) is pixels
