"""What every preprocessing pipeline is: a host half for each image and a device half for a batch.

The host is what limits AlexNet, so it does only what must be done for one image at a time
(decoding, resizing, cropping, flipping) and hands over bytes. Arithmetic that a batch can share
(colours, mean, scale, dtype) is left to the device half.

Every random number is drawn on the host from the example's own seed by stateless operations, so
that the device half is deterministic and a run can be repeated, resumed and distributed.
"""

from __future__ import annotations

import abc
import dataclasses
import numbers
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import tensorflow as tf

from preprocessing import decoding
from slimzoo_registry import Registry, unknown_name_message

P = TypeVar("P", bound="Preprocessing")

TEN_CROPS = 10
_MOST_PIXELS = 16_384  # a side of 20 times what photos are resized to; 3 GB as floats


@dataclasses.dataclass(frozen=True)
class Preprocessing(abc.ABC):
    """A pipeline; the fields of a subclass are the options that its user has.

    Attributes:
      is_training: whether images are augmented. Otherwise they are prepared for evaluation.
      respect_exif: whether encoded photos are turned as their cameras noted, before anything else.
      use_grayscale: whether images become grey as they are decoded: luma, one channel.
    """

    is_training: bool
    respect_exif: bool = dataclasses.field(default=False, kw_only=True)
    use_grayscale: bool = dataclasses.field(default=False, kw_only=True)

    # What a white pixel is where the mean is subtracted; means and deviations are on this scale.
    pixel_scale: ClassVar[float] = 255.0
    # A pipeline with a number for each of R, G and B has none for grey.
    takes_grayscale: ClassVar[bool] = False
    # One that gives the whole image has nothing to crop from.
    takes_ten_crops: ClassVar[bool] = True

    @property
    def channels(self) -> int:
        """Of the images that it gives: 3, RGB, or 1, grey."""
        return 1 if self.use_grayscale else 3

    @property
    def pixel_dtype(self) -> tf.DType:
        """Of the "image" that `host` gives: uint8, or float32 from 0 to 255.

        It is not rounded where the accuracies that a pipeline is to repeat were measured so.
        """
        return tf.uint8

    def __call__(
        self,
        image: Any,
        output_height: int,
        output_width: int,
        *,
        seed: Any = None,
        **options: Any,
    ) -> tf.Tensor:
        """Prepares one image, as TF-Slim's preprocessing functions do.

        Args:
          image: uint8 [height, width, 1, 3 or 4], or a scalar string: an encoded image.
          output_height: of the result, in pixels.
          output_width: of the result, in pixels.
          seed: two integers that make the random choices repeatable. Without it they differ at
            each call.
          **options: fields of this pipeline to replace for this call.

        Returns:
          float32 [output_height, output_width, channels].

        Raises:
          ValueError: if an argument is not as above.
        """
        pipeline = self.replace(**options)
        example = pipeline.host(image, output_height, output_width, seed=seed)
        batch = {key: tensor[tf.newaxis] for key, tensor in example.items()}
        return pipeline.device(batch)[0]

    def replace(self: P, **options: Any) -> P:
        """Returns a copy with other options.

        Raises:
          ValueError: if there is no such option, naming those that exist, if it is given under its
            old name and its new one, or if its value is bad.
        """
        return dataclasses.replace(self, **current_options(type(self), options))

    def host(
        self,
        image: Any,
        output_height: int,
        output_width: int,
        *,
        seed: Any = None,
        num_crops: int = 1,
    ) -> dict[str, tf.Tensor]:
        """Does what must be done image by image.

        Args:
          image: a scalar string (the bytes of a JPEG, PNG, GIF, BMP or WebP) or uint8 [height,
            width, 1, 3 or 4].
          output_height: in pixels, as a Python integer.
          output_width: in pixels, as a Python integer.
          seed: int32 or int64 [2]; the same seed makes the same choices. None draws a new one
            each time. Evaluation is not random and ignores it.
          num_crops: 1, or in evaluation 10: top left, top right, bottom left, bottom right,
            centre, then the same five mirrored.

        Returns:
          A dict that `device` takes once its tensors are batched. "image" is `pixel_dtype`
          [output_height, output_width, channels], or [10, output_height, output_width, channels];
          other keys are the random numbers that the device half of this pipeline needs.

        Raises:
          ValueError: if an argument is not as above, or the pipeline does not take grey images and
            has `use_grayscale`.
          tf.errors.InvalidArgumentError: when it runs, if the string is no image.
        """
        image = _checked_image(image)
        height = _checked_size("output_height", output_height)
        width = _checked_size("output_width", output_width)
        self._check_num_crops(num_crops)
        if self.use_grayscale and not self.takes_grayscale:
            raise ValueError(
                f"The preprocessing {_name_of(self)!r} is for RGB: grey images are prepared by "
                f"{' or '.join(taking_grayscale())} (--preprocessing_name)."
            )
        if seed is None and not self.is_training:
            seed = (0, 0)  # nothing is drawn from it; a graph to export stays free of random state
        seed = _checked_seed(seed)
        pixels = decoding.with_source(
            image,
            lambda source: self._pixels(source, height, width, seed, num_crops),
            respect_exif=self.respect_exif,
            channels=self.channels,
        )
        leading = [] if num_crops == 1 else [num_crops]
        return {
            "image": tf.ensure_shape(pixels, [*leading, height, width, self.channels]),
            **self._device_draws(seed),
        }

    @abc.abstractmethod
    def device(self, batch: dict[str, tf.Tensor], dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Does what can be done on a batch, on the accelerator. It draws no random numbers.

        Training and evaluation compile it with XLA, so it takes what XLA knows.

        Args:
          batch: what `host` gives, batched: "image" is uint8 or float32 from 0 to 255, [batch,
            height, width, channels], or with a dimension of ten crops behind the first.
          dtype: of the result. The arithmetic is done in float32 and its result cast: the pixels
            0 to 255 are exact in bfloat16 but a mean of 127.305 is not (127.5), and the
            difference would keep an error that the network sees as a shift of the whole image.

        Returns:
          `dtype`, of the shape of batch["image"].
        """

    @abc.abstractmethod
    def _pixels(
        self, source: decoding.Source, height: int, width: int, seed: tf.Tensor, num_crops: int
    ) -> tf.Tensor:
        """Returns the "image" of `host`, of `pixel_dtype`; arguments have been checked."""

    def _device_draws(self, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the random numbers that the device half needs."""
        del seed
        return {}

    def _check_num_crops(self, num_crops: int) -> None:
        if num_crops not in (1, TEN_CROPS):
            raise ValueError(f"num_crops is {num_crops!r}; it must be 1 or {TEN_CROPS}.")
        if num_crops == TEN_CROPS and self.is_training:
            raise ValueError(
                "num_crops=10 is for evaluation, but this preprocessing was made with "
                "is_training=True. Training takes one random crop."
            )
        if num_crops == TEN_CROPS and not self.takes_ten_crops:
            raise ValueError(
                f"Ten crops need images larger than the network's input; {type(self).__name__} "
                "gives the whole image, so num_crops (--eval_crops) must be 1."
            )


PREPROCESSINGS: Registry[type[Preprocessing]] = Registry("preprocessing")
register_preprocessing = PREPROCESSINGS.register


def _name_of(pipeline: Preprocessing) -> str:
    """What a pipeline is registered as; the name of its class if it is not."""
    names = (name for name, kind in PREPROCESSINGS.items() if kind is type(pipeline))
    return next(names, type(pipeline).__name__)


def taking_grayscale() -> list[str]:
    """The pipelines that prepare grey images."""
    return [name for name, pipeline in PREPROCESSINGS.items() if pipeline.takes_grayscale]


def file_option(file_name: str, *, replaces: str | None = None) -> Any:
    """A field that holds the path of a file, or None.

    Args:
      file_name: under which a run keeps its copy of the file.
      replaces: the option that has no effect where this one is given.
    """
    return dataclasses.field(default=None, metadata={"file_name": file_name, "replaces": replaces})


def renamed_option(default: Any, old_name: str) -> Any:
    """A field that can also be given by the name that it had.

    Args:
      default: of the field.
      old_name: which old runs and command lines have.
    """
    return dataclasses.field(default=default, metadata={"old_name": old_name})


def current_option_name(cls: type[Preprocessing], option: str) -> str:
    """Returns the name that an option has now; one that was not renamed is returned as it is."""
    for field in dataclasses.fields(cls):
        if field.metadata.get("old_name") == option:
            return field.name
    return option


def current_options(cls: type[Preprocessing], options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options of `cls` under the names that they have now.

    Raises:
      ValueError: if there is no such option, naming those that exist; if one is given under its old
        name and its new one.
    """
    known = [field.name for field in dataclasses.fields(cls)]
    current = {}
    for given, value in options.items():
        name = current_option_name(cls, given)
        if name not in known:
            raise ValueError(unknown_name_message(f"option of {cls.__name__}", given, known))
        if name != given and name in options:
            raise ValueError(
                f"{given} and {name} are both given: they are the old and the new name of one "
                f"option. Give {name} alone."
            )
        current[name] = value
    return current


def check_side(name: str, side: Any, at_least: int = 1) -> None:
    """Checks an option that is a number of pixels.

    Raises:
      ValueError: if `side` is no positive integer, or too small to crop `at_least` pixels from.
    """
    if not isinstance(side, numbers.Integral) or side <= 0:
        raise ValueError(f"{name} is {side!r}; it must be a positive number of pixels.")
    if int(side) > _MOST_PIXELS:
        raise ValueError(f"{name} is {side:,}; it must be at most {_MOST_PIXELS:,} pixels.")
    if side < at_least:
        raise ValueError(
            f"{name} is {side}, too small to crop {at_least} pixels from; it must be at least that."
        )


def check_padding(padding: Any) -> None:
    """Checks an option that is how many pixels are added to each side; ValueError if it is none."""
    if not isinstance(padding, numbers.Integral) or not 0 <= int(padding) <= _MOST_PIXELS:
        raise ValueError(f"padding is {padding!r}; it must be a number of pixels, or 0.")


def check_rgb(name: str, values: Any, *, minimum: float | None = None) -> None:
    """Checks an option that holds a number for each of R, G and B.

    Raises:
      ValueError: if `values` is not three numbers, or one is below `minimum`.
    """
    try:
        numeric = [float(value) for value in values]
    except (TypeError, ValueError):
        numeric = []
    if len(numeric) != 3 or not all(abs(value) < float("inf") for value in numeric):
        raise ValueError(f"{name} is {values!r}; it must be three numbers, for R, G and B.")
    if minimum is not None and min(numeric) < minimum:
        raise ValueError(f"{name} is {values!r}; each number must be at least {minimum:g}.")


def _checked_image(image: Any) -> tf.Tensor:
    image = tf.convert_to_tensor(image)
    accepted = "a scalar string (an encoded image) or uint8 [height, width, 1, 3 or 4]"
    given = f"{image.dtype.name} {image.shape}"
    if image.dtype == tf.string:
        if image.shape.rank not in (0, None):
            raise ValueError(f"image is {given}; it must be {accepted}.")
        return tf.ensure_shape(image, [])
    if image.dtype != tf.uint8:
        raise ValueError(
            f"image is {given}; it must be {accepted}. Pixels are taken from 0 to 255 before any "
            "scaling."
        )
    if image.shape.rank != 3 or image.shape[-1] not in (1, 3, 4) or 0 in image.shape:
        raise ValueError(
            f"image is {given}; it must be {accepted}, not empty, with its number of channels "
            "known (tf.ensure_shape can tell it)."
        )
    return image


def _checked_size(name: str, size: Any) -> int:
    if not isinstance(size, numbers.Integral) or isinstance(size, bool) or size <= 0:
        raise ValueError(f"{name} is {size!r}; it must be a positive number of pixels.")
    return int(size)


def _checked_seed(seed: Any) -> tf.Tensor:
    if seed is None:
        return tf.random.uniform([2], minval=tf.int32.min, maxval=tf.int32.max, dtype=tf.int32)
    seed = tf.convert_to_tensor(seed)
    if seed.dtype not in (tf.int32, tf.int64) or not seed.shape.is_compatible_with([2]):
        raise ValueError(f"seed is {seed.dtype.name} {seed.shape}; it must be int32 or int64 (2,).")
    return tf.ensure_shape(seed, [2])
