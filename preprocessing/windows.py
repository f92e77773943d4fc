"""Steps that pipelines are made of: windows, resizing, flips, and the seeds of their choices."""

from __future__ import annotations

import tensorflow as tf

from preprocessing.decoding import Source

_CHROMA_NEIGHBOURS = 2  # columns: chroma has half the width

# Times the short side; see `short_side_center_square`.
_LONGEST = 16


def independent_seeds(seed: tf.Tensor, *names: str) -> dict[str, tf.Tensor]:
    """Returns a seed for each name, so that one choice says nothing about another.

    Args:
      seed: int32 or int64 [2].
      *names: of the choices; their order is part of what a seed means.
    """
    return {name: tf.random.fold_in(seed, index) for index, name in enumerate(names)}


def random_offset(limit: tf.Tensor | int, seed: tf.Tensor) -> tf.Tensor:
    """Returns an int32 scalar, uniform over 0, 1, ..., limit."""
    return tf.random.stateless_uniform([], seed, minval=0, maxval=limit + 1, dtype=tf.int32)


def random_flip(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors uint8 [height, width, channels] left to right, or with probability 1/2 does not."""
    flip = tf.random.stateless_uniform([], seed) < 0.5
    return tf.cond(flip, lambda: mirror(image), lambda: image)


def mirror(images: tf.Tensor) -> tf.Tensor:
    """Mirrors [..., height, width, channels] left to right."""
    return tf.reverse(images, axis=[-2])


def resize(image: tf.Tensor, height: tf.Tensor | int, width: tf.Tensor | int) -> tf.Tensor:
    """Resizes as the paper's authors did: by area when reducing, cubic when enlarging.

    An image that one side must lose and the other gain counts as enlarged.

    Args:
      image: uint8 [any, any, 3].
      height: in pixels.
      width: in pixels.

    Returns:
      uint8 [height, width, 3]; values are rounded, and where the cubic overshoots, clipped.
    """
    shape = tf.shape(image)
    same = (shape[0] == height) & (shape[1] == width)
    reducing = (shape[0] >= height) & (shape[1] >= width)

    def reduced() -> tf.Tensor:
        average = tf.image.resize(image, [height, width], tf.image.ResizeMethod.AREA)
        # An average stays within 0 to 255; not clipping it saves a pass over the pixels.
        return tf.cast(average + 0.5, tf.uint8)

    def enlarged() -> tf.Tensor:
        cubic = tf.image.resize(image, [height, width], tf.image.ResizeMethod.BICUBIC)
        return tf.saturate_cast(tf.round(cubic), tf.uint8)

    return tf.cond(same, lambda: image, lambda: tf.cond(reducing, reduced, enlarged))


def resize_bilinear(
    image: tf.Tensor, height: tf.Tensor | int, width: tf.Tensor | int, antialias: bool = False
) -> tf.Tensor:
    """Resizes as most libraries do.

    Args:
      image: uint8 [any, any, 3].
      height: in pixels.
      width: in pixels.
      antialias: whether what is skipped on the way down is averaged (as PIL does and OpenCV does
        not).

    Returns:
      uint8 [height, width, 3], rounded.
    """
    resized = tf.image.resize(image, [height, width], antialias=antialias)
    return tf.saturate_cast(tf.round(resized), tf.uint8)


def resize_bilinear_from_corners(
    image: tf.Tensor, height: tf.Tensor | int, width: tf.Tensor | int
) -> tf.Tensor:
    """Resizes as TensorFlow 1 did: pixel centres are where pixels begin, and nothing is rounded.

    Args:
      image: uint8 or float [any, any, 3].
      height: in pixels.
      width: in pixels.

    Returns:
      float32 [height, width, 3].
    """
    size = tf.stack([height, width])
    return tf.compat.v1.image.resize_bilinear(image[tf.newaxis], size)[0]


def resize_nearest_from_corners(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Resizes as TensorFlow 1 did, in two thirds of the time of its own operation.

    Args:
      image: uint8 [any, any, 3].
      height: in pixels.
      width: in pixels.

    Returns:
      uint8 [height, width, 3].
    """
    rows, columns = (
        # In float32, as TensorFlow rounds it.
        tf.cast(tf.range(size, dtype=tf.float32) * (tf.cast(length, tf.float32) / size), tf.int32)
        for length, size in zip(tf.unstack(tf.shape(image)[:2]), (height, width), strict=True)
    )
    return tf.gather(tf.gather(image, rows), columns, axis=1)


def window_of_resized(
    source: Source,
    size: tf.Tensor,
    top: tf.Tensor | int,
    left: tf.Tensor | int,
    height: int,
    width: int,
) -> tf.Tensor:
    """Resizes as `resize_bilinear_from_corners` and cuts out a window, of which alone it decodes.

    Positions are rounded otherwise, which is seen in the pixels' third decimal.

    Args:
      source: the photo.
      size: int32 [2], height and width of the whole photo once it is resized.
      top: of the window in that.
      left: of the window in that.
      height: of the window.
      width: of the window.

    Returns:
      float32 [height, width, 3].
    """
    source_size = tf.stack([source.height, source.width])
    scale = tf.cast(source_size, tf.float64) / tf.cast(size, tf.float64)
    first = tf.cast(tf.stack([top, left]), tf.float64) * scale
    last = tf.cast(tf.stack([top + height - 1, left + width - 1]), tf.float64) * scale
    # The pixel behind a position is needed too, and columns as in `exact_window`.
    margin = tf.constant([0, _CHROMA_NEIGHBOURS])
    begin = tf.maximum(tf.cast(first, tf.int32) - margin, 0)
    end = tf.minimum(tf.cast(last, tf.int32) + 2 + margin, source_size)
    decoded = source.window(*tf.unstack(begin), *tf.unstack(end - begin))
    # Behind the last row and column of the photo they are repeated.
    padded = tf.concat([decoded, decoded[-1:]], axis=0)
    padded = tf.concat([padded, padded[:, -1:]], axis=1)
    begin, end = (tf.cast(offset, tf.float64) for offset in (begin, end))
    box = tf.concat([first - begin, last - begin], axis=0) / tf.tile(end - begin, [2])
    # Floats are resized in half the time of bytes.
    pixels = tf.cast(padded, tf.float32)[tf.newaxis]
    box = tf.cast(box, tf.float32)[tf.newaxis]
    return tf.image.crop_and_resize(pixels, box, [0], [height, width])[0]


def exact_window(
    source: Source, top: tf.Tensor, left: tf.Tensor, height: tf.Tensor, width: tf.Tensor
) -> tf.Tensor:
    """Decodes a window with the pixels that it has in the whole image, also in its outer columns.

    In these a decoder that is given a window interpolates chroma without the neighbour outside.

    Returns:
      uint8 [height, width, 3].
    """
    before = tf.minimum(left, _CHROMA_NEIGHBOURS)
    behind = tf.minimum(source.width - left - width, _CHROMA_NEIGHBOURS)
    window = source.window(top, left - before, height, before + width + behind)
    return window[:, before : before + width]


def random_crop_and_flip(image: tf.Tensor, height: int, width: int, seed: tf.Tensor) -> tf.Tensor:
    """Cuts out a window, uniform over all positions, and mirrors it with probability 1/2.

    Args:
      image: uint8 [any, any, 3], at least as large as the window.
      height: of the window.
      width: of the window.
      seed: int32 or int64 [2].
    """
    seeds = independent_seeds(seed, "top", "left", "flip")
    shape = tf.shape(image)
    top = random_offset(shape[0] - height, seeds["top"])
    left = random_offset(shape[1] - width, seeds["left"])
    return random_flip(image[top : top + height, left : left + width], seeds["flip"])


def short_side_center_square(image: tf.Tensor, side: int) -> tf.Tensor:
    """Resizes the whole image so that its short side is `side`, then cuts out the central square.

    The paper's order (section 2). The long side is rounded to whole pixels. Of an image that is
    more than 16 times as long as wide only the centre is resized, as the rest would only fill the
    memory.

    Args:
      image: uint8 [any, any, 3].
      side: of the square, in pixels.

    Returns:
      uint8 [side, side, 3].
    """
    shape = tf.shape(image)
    short = tf.minimum(shape[0], shape[1])
    kept = tf.minimum(shape[:2], _LONGEST * short)
    image = tf.slice(
        image, tf.concat([(shape[:2] - kept) // 2, [0]], axis=0), tf.concat([kept, [3]], axis=0)
    )
    # Half a pixel is rounded up, in integers: TensorFlow's round takes it to the even number.
    height, width = ((2 * kept[i] * side + short) // (2 * short) for i in range(2))
    resized = resize(image, height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = tf.slice(resized, tf.stack([top, left, 0]), [side, side, 3])
    return tf.ensure_shape(square, [side, side, 3])


def center_crop(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Cuts out the centre of an image that is at least as large; half a pixel is rounded down."""
    shape = tf.shape(image)
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def ten_crops(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Cuts the paper's ten test views.

    Args:
      image: [any, any, channels], at least as large as a view.
      height: of a view.
      width: of a view.

    Returns:
      [10, height, width, channels]: top left, top right, bottom left, bottom right, centre, then
      these five mirrored.
    """
    shape = tf.shape(image)
    bottom, right = shape[0] - height, shape[1] - width
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    views = tf.stack([image[top : top + height, left : left + width] for top, left in corners])
    return tf.concat([views, mirror(views)], axis=0)
