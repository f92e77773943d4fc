"""TF-Slim's `inception` pipeline, of its Inception, MobileNet and NASNet networks.

Source: TF-Slim, `preprocessing/inception_preprocessing.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from preprocessing import colors, windows
from preprocessing.base import Preprocessing, register_preprocessing
from preprocessing.decoding import Source


def _bilinear(part: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    # A mean stays within 0 to 255; not clipping it saves a pass over the pixels.
    mean = tf.compat.v1.image.resize_bilinear(_floats(part), size)[0]
    return tf.cast(mean + 0.5, tf.uint8)


def _nearest(part: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    return windows.resize_nearest_from_corners(part, *size)


def _bicubic(part: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    # It overshoots, which TF-Slim clips once the colours are changed.
    cubic = tf.compat.v1.image.resize_bicubic(_floats(part), size)[0]
    return tf.cast(tf.clip_by_value(cubic, 0.0, 255.0) + 0.5, tf.uint8)


def _area(part: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    mean = tf.compat.v1.image.resize_area(_floats(part), size)[0]
    return tf.cast(mean + 0.5, tf.uint8)


def _floats(part: tf.Tensor) -> tf.Tensor:
    """A batch of one, of floats, which are resized in two thirds of the time of bytes."""
    return tf.cast(part, tf.float32)[tf.newaxis]


# As TensorFlow 1 has them; one is drawn for each image in training. uint8 to uint8.
_RESIZE_METHODS: Sequence[Callable[[tf.Tensor, tuple[int, int]], tf.Tensor]] = (
    _bilinear,
    _nearest,
    _bicubic,
    _area,
)
# TF-Slim's four orders, one of which is drawn for each image, each as two rounds of what may be
# done at once (see `colors.change`). Its third, say, is contrast, hue, brightness, saturation.
_COLOR_ORDERS = (
    ({"brightness", "saturation", "hue"}, {"contrast"}),
    ({"saturation"}, {"brightness", "contrast", "hue"}),
    ({"contrast", "hue"}, {"brightness", "saturation"}),
    ({"saturation", "hue"}, {"contrast", "brightness"}),
)
_NO_CHANGE = {"brightness": 0.0, "saturation": 1.0, "hue": 0.0, "contrast": 1.0}
_COLOR_RANGES = {
    "brightness": (-32 / 255, 32 / 255),
    "saturation": (0.5, 1.5),
    "hue": (-0.2, 0.2),
    "contrast": (0.5, 1.5),
}


@register_preprocessing("inception")
@dataclasses.dataclass(frozen=True)
class InceptionPreprocessing(Preprocessing):
    """A part of a photo, resized whatever its shape, mirrored and recoloured; from -1 to 1.

    In evaluation the central part is resized bilinearly, as TensorFlow 1 did, without rounding. In
    training the pixels are rounded to bytes once they are resized, and the device changes their
    colours, which takes a host as long as all the rest (1.5 ms of 3.2 at 299x299, on one core).

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
        seeds = _seeds(seed)
        part = source.window(*_random_window(source, self.area_min, seeds["window"]))
        methods = _RESIZE_METHODS[:1] if self.fast_mode else _RESIZE_METHODS
        resized = tf.switch_case(
            windows.random_offset(len(methods) - 1, seeds["method"]),
            [lambda method=method: method(part, (height, width)) for method in methods],
        )
        return windows.random_flip(resized, seeds["flip"])

    def _device_draws(self, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns what `colors.change` takes, float32 [2] each: a number for each round."""
        if not self._changes_colors:
            return {}
        orders = _COLOR_ORDERS[:2] if self.fast_mode else _COLOR_ORDERS
        seeds = _seeds(seed)
        order = windows.random_offset(len(orders) - 1, seeds["order"])
        drawn = {}
        for name, (least, most) in self._color_ranges().items():
            number = tf.random.stateless_uniform([], seeds[name], least, most)
            rounds = tf.constant([[name in names for names in rounds] for rounds in orders])
            drawn[name] = tf.where(rounds[order], number, _NO_CHANGE[name])
        return drawn

    @property
    def _changes_colors(self) -> bool:
        return self.is_training and self.distort_color

    def _color_ranges(self) -> dict[str, tuple[float, float]]:
        names = ("brightness", "saturation") if self.fast_mode else tuple(_COLOR_RANGES)
        return {name: _COLOR_RANGES[name] for name in names}

    def device(self, batch: dict[str, tf.Tensor], dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Changes the colours, in training, and scales to -1 to 1.

        Args:
          batch: "image" uint8 or float32 [batch, height, width, 3], or with ten crops behind the
            first dimension; in training also the other keys of `host`, each float32 [batch, 2].
          dtype: of the result.

        Returns:
          `dtype`, of the shape of batch["image"]: (pixels / 255 - 0.5) * 2.

        Raises:
          ValueError: if colours are to be changed and the numbers were not drawn.
        """
        images = tf.cast(batch["image"], tf.float32) / 255
        if self._changes_colors:
            images = self._with_changed_colors(images, batch)
        return tf.cast((images - 0.5) * 2, dtype)

    def _with_changed_colors(self, images: tf.Tensor, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        names = list(self._color_ranges())
        missing = [name for name in names if name not in batch]
        if missing:
            raise ValueError(
                f"The batch holds {', '.join(sorted(batch))} but no {', '.join(missing)}. Training "
                "needs the whole of what host() gives."
            )
        planes = tf.unstack(images, axis=-1)
        for number in range(2):
            planes = colors.change(planes, **{name: batch[name][:, number] for name in names})
        return tf.clip_by_value(tf.stack(planes, axis=-1), 0.0, 1.0)


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


def _seeds(seed: tf.Tensor) -> dict[str, tf.Tensor]:
    return windows.independent_seeds(seed, "window", "method", "flip", "order", *_COLOR_RANGES)
