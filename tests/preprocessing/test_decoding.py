import io
import re
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from preprocessing import decoding

RED_GREEN_BLUE = np.array(
    [[[200, 100, 50], [10, 220, 90], [30, 60, 240]], [[255, 0, 0], [0, 255, 0], [0, 0, 255]]],
    np.uint8,
)
GREY = np.array([[[0], [90], [255]], [[17], [128], [201]]], np.uint8)

# 3x2 pixels of (200, 100, 50); the second one has a second frame of (20, 10, 250).
STILL_GIF = bytes.fromhex(
    "47494638376103000200810000c864320000000000000000002c00000000030002000008060001081c1810003b"
)
ANIMATED_GIF = bytes.fromhex(
    "47494638376103000200810000c864320000000000000000002c00000000030002000008060001081c181000"
    "21f90401000001002c000000000300020081140afa00000000000000000008060001081c1810003b"
)
GIF_PIXELS = np.full((2, 3, 3), (200, 100, 50), np.uint8)


def bmp(rows: np.ndarray, palette: bytes = b"") -> bytes:
    """Writes uint8 [height, width, channels], channels in the order of the file."""
    height, width, channels = rows.shape
    padding = b"\0" * (-width * channels % 4)
    pixels = b"".join(row.tobytes() + padding for row in rows[::-1])
    start = 54 + len(palette)
    header = struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8 * channels, 0, len(pixels), *[0] * 4)
    return header + info + palette + pixels


def grey_bmp() -> bytes:
    return bmp(GREY, b"".join(bytes([i, i, i, 0]) for i in range(256)))


def palette_bmp() -> bytes:
    colours = RED_GREEN_BLUE.reshape(-1, 3)
    palette = b"".join(bytes([b, g, r, 0]) for r, g, b in colours)
    return bmp(np.arange(6, dtype=np.uint8).reshape(2, 3, 1), palette)


def palette_png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    rows = b"".join(b"\0" + bytes(range(start, start + 3)) for start in (0, 3))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 2, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", RED_GREEN_BLUE.tobytes())
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def with_alpha(rgb: np.ndarray) -> np.ndarray:
    return np.concatenate([rgb, np.full_like(rgb[..., :1], 40)], axis=-1)


BGR = RED_GREEN_BLUE[..., ::-1]
LOSSLESS = {
    "png": (tf.io.encode_png(RED_GREEN_BLUE).numpy(), RED_GREEN_BLUE),
    "png grey": (tf.io.encode_png(GREY).numpy(), GREY),
    "png alpha": (tf.io.encode_png(with_alpha(RED_GREEN_BLUE)).numpy(), RED_GREEN_BLUE),
    "png grey alpha": (tf.io.encode_png(with_alpha(GREY)).numpy(), GREY),
    "png 16 bits": (tf.io.encode_png(RED_GREEN_BLUE.astype(np.uint16) * 257), RED_GREEN_BLUE),
    "png 16 bits grey": (tf.io.encode_png(GREY.astype(np.uint16) * 257).numpy(), GREY),
    "png palette": (palette_png(), RED_GREEN_BLUE),
    "gif": (STILL_GIF, GIF_PIXELS),
    "gif animated": (ANIMATED_GIF, GIF_PIXELS),
    "bmp": (bmp(BGR), RED_GREEN_BLUE),
    "bmp 32 bits": (bmp(with_alpha(BGR)), RED_GREEN_BLUE),
    "bmp grey": (grey_bmp(), GREY),
    "bmp palette": (palette_bmp(), RED_GREEN_BLUE),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_give_their_rgb(name):
    contents, expected = LOSSLESS[name]
    decoded = decoding.decode(contents)
    assert decoded.dtype == tf.uint8
    np.testing.assert_array_equal(decoded, np.broadcast_to(expected, (2, 3, 3)))


def test_grey_jpeg_gives_three_equal_channels(texture):
    grey = texture(40, 56)[..., :1]
    decoded = decoding.decode(tf.io.encode_jpeg(grey, quality=95)).numpy()
    assert decoded.shape == (40, 56, 3)
    np.testing.assert_array_equal(decoded, np.broadcast_to(decoded[..., :1], decoded.shape))
    np.testing.assert_allclose(decoded[..., :1].astype(int), grey, atol=8)


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_jpeg_colours_are_right_whatever_the_file_stores(texture, mode):
    pil_image = pytest.importorskip("PIL.Image")
    rgb = texture(40, 56)
    file = io.BytesIO()
    pil_image.fromarray(rgb).convert(mode).save(file, "JPEG", quality=95, subsampling=0)
    difference = decoding.decode(file.getvalue()).numpy().astype(int) - rgb
    assert np.abs(difference).mean() < 3


def test_cmyk_window_is_part_of_the_whole(texture):
    pil_image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    pil_image.fromarray(texture(80, 100)).convert("CMYK").save(file, "JPEG")
    whole = decoding.decode(file.getvalue())
    window = decoding.Jpeg(tf.constant(file.getvalue())).window(13, 27, 40, 50)
    np.testing.assert_array_equal(window, whole[13:53, 27:77])


LUMA = np.array([0.299, 0.587, 0.114])


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
def test_every_image_becomes_grey_by_its_luma(texture, mode, file_format):
    if mode == "CMYK" and file_format != "JPEG":
        pytest.skip("only JPEG stores CMYK")
    rgb = texture(40, 56)
    grey = rgb @ LUMA
    file = io.BytesIO()
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(file_format, {})
    Image.fromarray(rgb).convert(mode).save(file, file_format, **options)
    given = decoding.decode(file.getvalue(), channels=1).numpy()
    assert given.shape == (40, 56, 1)
    assert np.abs(given[..., 0] - grey).mean() < (9 if file_format == "GIF" else 3)  # 256 colours
    window = decoding.with_source(
        tf.constant(file.getvalue()),
        lambda source: source.reduced(tf.constant(1)).window(3, 5, 20, 30),
        channels=1,
    )
    np.testing.assert_array_equal(window, given[3:23, 5:35])


def test_grey_files_stay_as_they_are():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    for image in (ramp, tf.io.encode_png(ramp), ramp.repeat(3, axis=2)):
        np.testing.assert_array_equal(decoding.decode(image, channels=1), ramp)
    decoded = tf.io.decode_jpeg(tf.io.encode_jpeg(ramp), dct_method="INTEGER_ACCURATE")
    np.testing.assert_array_equal(decoding.decode(tf.io.encode_jpeg(ramp), channels=1), decoded)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_grey_photos_are_turned_and_reduced_too(texture, orientation):
    photo = Image.fromarray(texture(64, 96))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    photo.save(file, "JPEG", exif=exif, quality=95)
    colours = decoding.decode(file.getvalue(), respect_exif=True).numpy()
    grey = decoding.decode(file.getvalue(), respect_exif=True, channels=1).numpy()
    assert grey.shape == (*colours.shape[:2], 1)
    assert np.abs(grey[..., 0] - colours @ LUMA).mean() < 2


def test_jpeg_size_is_read_from_the_header(texture):
    source = decoding.Jpeg(tf.io.encode_jpeg(texture(40, 56)))
    assert (int(source.height), int(source.width)) == (40, 56)


@pytest.mark.parametrize("chroma_downsampling", [False, True])
def test_jpeg_window_differs_from_the_whole_in_its_outer_columns_only(texture, chroma_downsampling):
    contents = tf.io.encode_jpeg(
        texture(160, 200), quality=90, chroma_downsampling=chroma_downsampling
    )
    whole = decoding.decode(contents).numpy().astype(int)
    source = decoding.Jpeg(contents)
    largest = 0
    for top, left in [(0, 0), (1, 1), (7, 16), (19, 33), (60, 99), (63, 100)]:
        window = source.window(top, left, 96, 100).numpy()
        difference = np.abs(window - whole[top : top + 96, left : left + 100])
        assert difference[:, 1:-1].max() == 0
        largest = max(largest, difference.max())
    assert largest <= (32 if chroma_downsampling else 0)


def test_windows_of_photos_differ_from_the_whole_by_little_in_their_outer_columns(sample_photos):
    for contents in sample_photos.values():
        whole = decoding.decode(contents).numpy().astype(int)
        source = decoding.Jpeg(tf.constant(contents))
        for top, left in [(0, 0), (5, 9), (17, 40), (64, 101), (99, 256)]:
            window = source.window(top, left, 224, 224).numpy()
            difference = np.abs(window - whole[top : top + 224, left : left + 224])
            assert difference[:, 1:-1].max() == 0
            assert difference[:, [0, -1]].mean() < 1


@pytest.mark.parametrize(
    "contents",
    [b"", b"B", b"BM", b"a text", b"\xff\xd8\xff and no more", LOSSLESS["png"][0][:30]],
)
def test_what_is_no_image_fails_as_an_invalid_argument(contents):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoding.decode(contents)


def test_decode_works_in_a_saved_model_of_mixed_formats(texture, tmp_path):
    class Decoder(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def mean(self, contents):
            return tf.map_fn(
                lambda one: tf.reduce_mean(tf.cast(decoding.decode(one), tf.float32)),
                contents,
                fn_output_signature=tf.float32,
            )

    tf.saved_model.save(Decoder(), str(tmp_path))
    files = [contents for contents, _ in LOSSLESS.values()]
    files.append(tf.io.encode_jpeg(texture(16, 24)).numpy())
    means = tf.saved_model.load(str(tmp_path)).mean(tf.stack(files))
    expected = [decoding.decode(contents).numpy().mean() for contents in files]
    np.testing.assert_allclose(means, expected, rtol=1e-5)


def decode_pair(first, second):
    """What a dataset makes of two files, in which case an error ends it."""

    def decode(contents):
        image = decoding.decode(contents)
        return {"image": tf.ensure_shape(image, [2, 3, 3]), "height": tf.shape(image)[0]}

    dataset = tf.data.Dataset.from_tensor_slices([first, second])
    return list(dataset.map(lambda contents: decoding.decode_or_zeros(contents, decode)))


def test_what_cannot_be_decoded_becomes_zeros_of_weight_zero():
    good, bad = decode_pair(LOSSLESS["png"][0], LOSSLESS["png"][0][:30])
    np.testing.assert_array_equal(good[0]["image"], RED_GREEN_BLUE)
    assert (int(good[0]["height"]), float(good[1])) == (2, 1)
    np.testing.assert_array_equal(bad[0]["image"], np.zeros([2, 3, 3], np.uint8))
    assert (int(bad[0]["height"]), float(bad[1])) == (0, 0)
    assert bad[0]["image"].dtype == tf.uint8


def test_an_image_of_another_size_than_decode_promised_is_left_out_too():
    _, bad = decode_pair(LOSSLESS["png"][0], tf.io.encode_png(np.zeros([4, 4, 3], np.uint8)))
    assert float(bad[1]) == 0


def in_a_dataset(contents):
    list(tf.data.Dataset.from_tensors(contents).map(decoding.decode, num_parallel_calls=2))


@pytest.mark.parametrize("decode", [decoding.decode, tf.function(decoding.decode), in_a_dataset])
def test_an_error_is_told_without_the_names_of_graphs_and_nodes(decode):
    with pytest.raises(tf.errors.InvalidArgumentError) as info:
        decode(tf.constant(b"a text"))
    message = decoding.plain_message(info.value)
    assert re.fullmatch(r"Unknown image file format\. One of JPEG, [\w, ]+ required\.", message)


def test_other_errors_of_tensorflow_are_told_as_plainly():
    with pytest.raises(tf.errors.NotFoundError) as info:
        list(tf.data.Dataset.from_tensors("nowhere.jpg").map(tf.io.read_file))
    assert decoding.plain_message(info.value) == "nowhere.jpg; No such file or directory"
    error = tf.errors.InternalError(None, None, "first line\nsecond line [of two]")
    assert decoding.plain_message(error) == "first line\nsecond line [of two]"
    assert decoding.plain_message(tf.errors.AbortedError(None, None, None)) == "AbortedError"


def webp(pixels, **options):
    pil_image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    pil_image.fromarray(pixels).save(file, "WEBP", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "options", [{"quality": 80}, {"lossless": True}, {"quality": 80, "icc_profile": b"a profile"}]
)
@pytest.mark.parametrize("has_alpha", [False, True])
def test_still_webp_is_decoded_as_by_pillow(texture, options, has_alpha):
    pil_image = pytest.importorskip("PIL.Image")
    rgb = texture(40, 56)
    contents = webp(with_alpha(rgb) if has_alpha else rgb, **options)
    expected = np.asarray(pil_image.open(io.BytesIO(contents)).convert("RGBA"))[..., :3]
    np.testing.assert_array_equal(decoding.decode(contents), expected)


def test_animated_webp_is_refused_and_ends_no_process(texture):
    pil_image = pytest.importorskip("PIL.Image")
    for pixels in (texture(40, 56), with_alpha(texture(40, 56))):
        frames = [pil_image.fromarray(255 - pixels)]
        contents = webp(pixels, save_all=True, append_images=frames, duration=100)
        for decode in (decoding.decode, tf.function(decoding.decode), in_a_dataset):
            with pytest.raises(tf.errors.InvalidArgumentError, match="an animated WebP"):
                decode(tf.constant(contents))


@pytest.mark.parametrize("length", [0, 8, 12, 16, 20, 30, 60])
def test_torn_webp_is_an_error(texture, length):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoding.decode(webp(texture(40, 56), lossless=True)[:length])
