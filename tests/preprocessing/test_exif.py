import io
import struct

import numpy as np
import pytest
import tensorflow as tf

from preprocessing import decoding, exif
from preprocessing.preprocessing_factory import PREPROCESSINGS, get_options, get_preprocessing

Image = pytest.importorskip("PIL.Image")
ImageOps = pytest.importorskip("PIL.ImageOps")

# One trace for thousands of files; the branches run eagerly in the tests of decoding.
read_orientation = tf.function(
    lambda contents: tf.cond(
        tf.image.is_jpeg(contents),
        lambda: exif.orientation(contents, is_jpeg=True),
        lambda: exif.orientation(contents, is_jpeg=False),
    ),
    input_signature=[tf.TensorSpec([], tf.string)],
    autograph=False,
)


def exif_data(orientation: int, byte_order: str = "<") -> bytes:
    data = Image.Exif()
    data.endian = byte_order
    data[0x010F] = "a camera of some make"
    data[0x0112] = orientation
    data[0x8298] = "somebody"
    return data.tobytes()


def encoded(pixels: np.ndarray, form: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    if form == "JPEG":
        options = {"quality": 95, "subsampling": 0, **options}
    if form == "WEBP":
        options = {"lossless": True, **options}
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def turned_by_pillow(contents: bytes) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(contents)))
    return np.asarray(image.convert("RGB"))


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def upright_jpeg(texture) -> bytes:
    return encoded(texture(24, 40))


def with_segments(jpeg: bytes, *segments: bytes, at: int = 2) -> bytes:
    return jpeg[:at] + b"".join(segments) + jpeg[at:]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_by_pillow(texture, form, byte_order, orientation):
    contents = encoded(texture(24, 40), form, exif=exif_data(orientation, byte_order))
    assert int(read_orientation(contents)) == orientation
    turned = decoding.decode(contents, respect_exif=True).numpy()
    expected = turned_by_pillow(contents)
    if form == "JPEG":  # Pillow's decoder rounds otherwise; where pixels come to lie is what counts
        stored = decoding.decode(contents).numpy()
        image = Image.fromarray(stored)
        image.getexif()[0x0112] = orientation
        np.testing.assert_allclose(turned.astype(int), expected, atol=4)
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(turned, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_window_is_part_of_the_turned_image(texture, orientation):
    contents = tf.constant(encoded(texture(96, 160), exif=exif_data(orientation)))
    whole = decoding.decode(contents, respect_exif=True).numpy()
    source = decoding.Turned(decoding.Jpeg(contents), tf.constant(orientation))
    height, width = whole.shape[:2]
    assert (int(source.height), int(source.width)) == (height, width)
    random = np.random.default_rng(orientation)
    for _ in range(8):
        top, left = random.integers(0, height - 1), random.integers(0, width - 1)
        rows, columns = random.integers(1, height - top), random.integers(1, width - left)
        window = source.window(*(tf.constant(int(n)) for n in (top, left, rows, columns)))
        np.testing.assert_array_equal(window, whole[top : top + rows, left : left + columns])


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_a_smaller_image_is_turned_as_the_large_one(texture, orientation):
    contents = tf.constant(encoded(texture(96, 160), exif=exif_data(orientation)))
    stored = decoding.Jpeg(contents).reduced(tf.constant(4))
    small = Image.fromarray(stored.window(0, 0, stored.height, stored.width).numpy())
    small.getexif()[0x0112] = orientation
    source = decoding.Turned(decoding.Jpeg(contents), tf.constant(orientation))
    source = source.reduced(tf.constant(4))
    turned = source.window(0, 0, source.height, source.width)
    np.testing.assert_array_equal(turned, np.asarray(ImageOps.exif_transpose(small)))


def test_exif_data_are_found_wherever_they_may_stand(texture):
    plain = upright_jpeg(texture)  # begins with a JFIF segment of 18 bytes
    data = segment(0xE1, exif_data(6))
    large = segment(0xE2, b"ICC_PROFILE\0" + bytes(30_000))
    assert int(read_orientation(plain)) == 1
    assert int(read_orientation(with_segments(plain, data))) == 6
    assert int(read_orientation(with_segments(plain, data, at=20))) == 6
    assert int(read_orientation(with_segments(plain, large, data, at=20))) == 6
    assert int(read_orientation(with_segments(plain, b"\xff\xff\xff", data, at=20))) == 6
    scan = plain.index(b"\xff\xda")
    assert int(read_orientation(with_segments(plain, data, at=scan))) == 6


def test_what_only_looks_like_exif_data_turns_nothing(texture):
    plain = upright_jpeg(texture)
    data = segment(0xE1, exif_data(6))
    assert int(read_orientation(plain)) == 1
    assert int(read_orientation(with_segments(plain, data))) == 6
    for marker in (0xE0, 0xE2, 0xFE):
        other = segment(marker, exif_data(6))
        assert int(read_orientation(with_segments(plain, other))) == 1
    tiff = exif_data(6)
    for damaged in (
        tiff.replace(b"\x12\x01\x03\0", b"\x12\x01\x05\0"),  # another type of number
        tiff.replace(b"II*\0", b"IM*\0"),
        tiff.replace(b"II*\0\x08\0\0\0", b"II*\0\xff\xff\xff\xff"),
        tiff[:12],
        tiff[:20],
        exif_data(0),
        exif_data(9),
        exif_data(65_535),
    ):
        assert int(read_orientation(with_segments(plain, segment(0xE1, damaged)))) == 1


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_damaged_bytes_give_a_number_and_never_an_error(texture, form):
    contents = encoded(texture(24, 40), form, exif=exif_data(8, ">"))
    random = np.random.default_rng(len(form))
    start = contents.index(exif_data(8, ">")[6:])
    for _ in range(150):
        damaged = np.frombuffer(contents, np.uint8).copy()
        around = random.integers(max(0, start - 30), start + 90, 4) % len(damaged)
        damaged[around] = random.integers(0, 256, 4)
        cut = damaged.tobytes()[: random.integers(0, len(damaged) + 1)]
        assert 1 <= int(read_orientation(damaged.tobytes())) <= 8
        assert 1 <= int(read_orientation(cut)) <= 8


def test_a_list_of_many_entries_is_looked_through(texture):
    plain = upright_jpeg(texture)

    def data(order: str, num_before: int) -> bytes:
        start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
        other = struct.pack(order + "HHIHH", 0x0100, 3, 1, 0x0112, 0)
        it = struct.pack(order + "HHIHH", 0x0112, 3, 1, 6, 0)
        count = struct.pack(order + "H", num_before + 1)
        return b"Exif\0\0" + start + count + other * num_before + it

    for order in "<>":
        for num_before in (0, 1, 30, 80):
            contents = with_segments(plain, segment(0xE1, data(order, num_before)))
            assert int(read_orientation(contents)) == 6


@pytest.mark.parametrize("name", PREPROCESSINGS)
def test_every_preprocessing_has_the_option_and_leaves_photos_alone_by_default(name, texture):
    assert get_options(name)["respect_exif"] is False
    turned = encoded(texture(48, 80), exif=exif_data(6))
    plain = encoded(texture(48, 80))
    views = [
        get_preprocessing(name, respect_exif=respect_exif).host(contents, 32, 32)["image"].numpy()
        for respect_exif, contents in ((False, turned), (False, plain), (True, plain))
    ]
    np.testing.assert_array_equal(views[0], views[1])
    np.testing.assert_array_equal(views[1], views[2])
    seen = get_preprocessing(name, respect_exif=True).host(turned, 32, 32)["image"].numpy()
    expected = decoding.decode(turned, respect_exif=True)
    upright = get_preprocessing(name).host(expected, 32, 32)["image"].numpy()
    # A window that is cut before it is decoded and one cut after may be half a pixel apart.
    assert np.abs(seen.astype(int) - upright).mean() < 4
    assert np.abs(seen.astype(int) - views[0]).mean() > 10


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_dataset_of_photos_is_turned_in_its_graph(texture, orientation):
    contents = encoded(texture(48, 80), exif=exif_data(orientation))
    preprocessing = get_preprocessing("alexnet", is_training=True, respect_exif=True)

    def prepare(contents):
        return preprocessing.host(contents, 24, 24, seed=[1, 2])["image"]

    (in_graph,) = tf.data.Dataset.from_tensors(contents).map(prepare)
    np.testing.assert_array_equal(in_graph, prepare(contents))
