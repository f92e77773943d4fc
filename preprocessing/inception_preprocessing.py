"""TF-Slim's `inception` pipeline, of its Inception, MobileNet and NASNet networks.

Source: TF-Slim, `preprocessing/inception_preprocessing.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from preprocessing import windows
from preprocessing.base import Preprocessing, register_preprocessing
from preprocessing.decoding import Source

_ResizeFn = Callable[[tf.Tensor, tuple[int, int]], tf.Tensor]

# As TensorFlow 1 has them; one is drawn for each image in training.
_RESIZE_METHODS: Sequence[_ResizeFn] = (
    tf.compat.v1.image.resize_bilinear,
    tf.compat.v1.image.resize_nearest_neighbor,
    tf.compat.v1.image.resize_bicubic,
    tf.compat.v1.image.resize_area,
)
# The orders in which colours are changed, one of which is drawn for each image.
_COLOR_ORDERS = (
    ("brightness", "saturation", "hue", "contrast"),
    ("saturation", "brightness", "contrast", "hue"),
    ("contrast", "hue", "brightness", "saturation"),
    ("hue", "saturation", "contrast", "brightness"),
)
_MOST_BRIGHTNESS = 32 / 255
_MOST_HUE = 0.2
_FACTORS = (0.5, 1.5)  # of saturation and contrast


@register_preprocessing("inception")
@dataclasses.dataclass(frozen=True)
class InceptionPreprocessing(Preprocessing):
    """A part of a photo, resized whatever its shape, mirrored and recoloured; from -1 to 1.

    In evaluation the central part is resized bilinearly, as TensorFlow 1 did, without rounding. In
    training the pixels are rounded to bytes, which is quicker to hand over.

    Attributes:
      is_training: a random part, resize method, flip and colours; otherwise the central part, or
        ten crops of it, each 7/8 of its height and width.
      central_fraction: of height and width that evaluation keeps.
      area_min: the least share of the photo's area that training takes; at most all.
      distort_color: whether training changes brightness, saturation, hue and contrast.
      fast_mode: resizes bilinearly in training, and leaves hue and contrast as they are.
    """

    central_fraction: float = 0.875
    area_min: float = 0.05
    distort_color: bool = True
    fast_mode: bool = False

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
          ValueError: for a value that is out of range.
        """
        for name in ("central_fraction", "area_min"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise ValueError(f"{name} is {value!r}; it must be a share, above 0 and at most 1.")

    @property
    def pixel_dtype(self) -> tf.DType:
        """Not rounded in evaluation."""
        return tf.uint8 if self.is_training else tf.float32

    def _pixels(
        self, source: Source, height: int, width: int, seed: tf.Tensor, num_crops: int
    ) -> tf.Tensor:
        if self.is_training:
            return self._training_pixels(source, height, width, seed)
        rows, columns = (
            _central_part(size, self.central_fraction) for size in (source.height, source.width)
        )
        part = windows.exact_window(source, rows[0], columns[0], rows[1], columns[1])
        if num_crops == 1:
            return windows.resize_bilinear_from_corners(part, height, width)
        larger = windows.resize_bilinear_from_corners(part, height * 8 // 7, width * 8 // 7)
        return windows.ten_crops(larger, height, width)

    def _training_pixels(
        self, source: Source, height: int, width: int, seed: tf.Tensor
    ) -> tf.Tensor:
        seeds = windows.independent_seeds(seed, "window", "method", "flip", "colors")
        part = source.window(*_random_window(source, self.area_min, seeds["window"]))
        methods = _RESIZE_METHODS[:1] if self.fast_mode else _RESIZE_METHODS
        pixels = tf.cast(part, tf.float32)[tf.newaxis] / 255
        resized = tf.switch_case(
            windows.random_offset(len(methods) - 1, seeds["method"]),
            [
                lambda method=method: tf.cast(method(pixels, (height, width))[0], tf.float32)
                for method in methods
            ],
        )
        image = windows.random_flip(resized, seeds["flip"])
        if self.distort_color:
            image = _recolored(image, seeds["colors"], self.fast_mode)
        return tf.saturate_cast(tf.round(image * 255), tf.uint8)

    def device(self, batch: dict[str, tf.Tensor], dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Scales to -1 to 1.

        Args:
          batch: "image" uint8 or float32 [batch, height, width, 3], or with ten crops behind the
            first dimension.
          dtype: of the result.

        Returns:
          `dtype`, of the shape of batch["image"]: (pixels / 255 - 0.5) * 2.
        """
        return tf.cast((tf.cast(batch["image"], tf.float32) / 255 - 0.5) * 2, dtype)


def _central_part(size: tf.Tensor, fraction: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Where the central part of a side begins, and how long it is, as `tf.image.central_crop`."""
    exact = tf.cast(size, tf.float64)
    start = tf.cast((exact - exact * fraction) / 2, tf.int32)
    return start, size - 2 * start


def _random_window(
    source: Source, area_min: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draws top, left, height and width of a part of the photo."""
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.stack([source.height, source.width, 3]),
        tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed,
        min_object_covered=0.1,
        aspect_ratio_range=(0.75, 1.33),
        area_range=(area_min, 1.0),
        max_attempts=100,
    )
    return begin[0], begin[1], size[0], size[1]


def _recolored(image: tf.Tensor, seed: tf.Tensor, fast_mode: bool) -> tf.Tensor:
    """Changes the colours of float32 [height, width, 3], from 0 to 1, in a random order."""
    seeds = windows.independent_seeds(seed, "order", "brightness", "saturation", "hue", "contrast")

    def uniform(name: str, least: float, most: float) -> tf.Tensor:
        return tf.random.stateless_uniform([], seeds[name], least, most)

    changes: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
        "brightness": lambda image: (
            image + uniform("brightness", -_MOST_BRIGHTNESS, _MOST_BRIGHTNESS)
        ),
        "saturation": lambda image: tf.image.adjust_saturation(
            image, uniform("saturation", *_FACTORS)
        ),
        "hue": lambda image: tf.image.adjust_hue(image, uniform("hue", -_MOST_HUE, _MOST_HUE)),
        "contrast": lambda image: tf.image.adjust_contrast(image, uniform("contrast", *_FACTORS)),
    }

    def in_order(order: Sequence[str]) -> tf.Tensor:
        changed = image
        for name in order:
            if not fast_mode or name in ("brightness", "saturation"):
                changed = changes[name](changed)
        return changed

    orders = _COLOR_ORDERS[:2] if fast_mode else _COLOR_ORDERS
    recolored = tf.switch_case(
        windows.random_offset(len(orders) - 1, seeds["order"]),
        [lambda order=order: in_order(order) for order in orders],
    )
    return tf.clip_by_value(recolored, 0.0, 1.0)
