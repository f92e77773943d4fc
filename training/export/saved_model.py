"""Export as a SavedModel that takes images as they come and answers with class names."""

from __future__ import annotations

import tensorflow as tf

from image_datasets.wordnet_names import description
from nets.device_forms import traced_for
from nets.nets_factory import NetworkFn
from preprocessing import decoding
from preprocessing.base import Preprocessing
from preprocessing.image_sizes import DEFAULT_MAX_IMAGE_PIXELS, limited

Answers = dict[str, tf.Tensor]

# What TF-Slim calls end points that have a number a class.
_OF_CLASSES = {"logits", "predictions", "auxlogits", "spatial_squeeze"}

# Images that are worked on at a time, so that the memory that a request takes does not grow with
# it. Measured once, on two cores: 20,000 of 32x32 pixels take less than half as long as at once.
_PART = 64


class ServableClassifier(tf.Module):
    """A trained network with its preprocessing, from images to class names.

    `serving_default` takes decoded images, uint8 [batch, height, width, channels] of any size, RGB
    or grey as the network's are; `serving_bytes` encoded ones. Both answer with: "logits" and
    "probabilities", float32 [batch, num_classes]; "features", float32 [batch, n], the last end
    point before the logits, averaged over positions; "top_classes", string [batch, k], "top_names",
    the same in words where classes are ImageNet's ids ("shovel" for "n04208210"), "top_indices",
    int32, and "top_probabilities", float32, of the k likeliest classes, best first; "valid", bool
    [batch], false where an image cannot be decoded or is too large. The answers of such an image
    are all zero, which probabilities of an image never are, its classes are "" and their indices
    -1; the answers of the others are as without it. (JSON, by which servers answer, has no NaN.)
    The batch may be empty.

    `class_names`, string [num_classes], holds all names in the order of logits, also on what
    `tf.saved_model.load` gives.

    Args:
      network_fn: the network, with its weights.
      preprocessing: made for evaluation.
      class_names: of the network's outputs.
      image_size: height and width given to the network, in pixels.
      top_k: how many classes the answers name; at most all.
      max_image_pixels: an encoded image that has more by its header is not decoded; 0 sets no
        limit.
    """

    def __init__(
        self,
        network_fn: NetworkFn,
        preprocessing: Preprocessing,
        class_names: list[str],
        image_size: int,
        top_k: int = 5,
        max_image_pixels: int = DEFAULT_MAX_IMAGE_PIXELS,
    ):
        super().__init__()
        self.model = network_fn.model  # tracks the variables
        # Those of auxiliary logits as well, which are computed beside it.
        self.layers = network_fn.layers
        self.class_names = tf.Variable(class_names, trainable=False)  # which is saved by its name
        self._names_in_words = tf.constant([description(name) for name in class_names])
        self._network_fn = network_fn
        self._preprocessing = preprocessing
        self._image_size = image_size
        self._top_k = min(top_k, len(class_names))
        self._max_image_pixels = max_image_pixels
        spec = tf.TensorSpec([None, None, None, network_fn.channels], tf.uint8, name="images")
        self.serving_default = tf.function(self._answer, input_signature=[spec], autograph=False)

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")], autograph=False
    )
    def serving_bytes(self, image_bytes: tf.Tensor) -> Answers:
        """Answers for encoded images (JPEG, PNG, GIF, BMP, WebP) of any sizes: string [batch]."""
        return self._answer(image_bytes)

    def _answer(self, images: tf.Tensor) -> Answers:
        """The answers for a request, a part of which is worked on at a time."""
        count = tf.shape(images)[0]
        spec = tf.TensorSpec([None, *images.shape[1:]], images.dtype)
        answer_part = tf.function(self._answer_part, input_signature=[spec], autograph=False)
        structure = answer_part.get_concrete_function().structured_outputs
        arrays = {
            key: tf.TensorArray(
                answer.dtype, -(-count // _PART), infer_shape=False, element_shape=answer.shape
            )
            for key, answer in structure.items()
        }

        def take_part(
            number: tf.Tensor, arrays: dict[str, tf.TensorArray]
        ) -> tuple[tf.Tensor, dict[str, tf.TensorArray]]:
            part = answer_part(images[number * _PART : (number + 1) * _PART])
            return number + 1, {key: arrays[key].write(number, part[key]) for key in arrays}

        _, arrays = tf.while_loop(
            lambda number, _: number * _PART < count,
            take_part,
            (0, arrays),
            parallel_iterations=1,  # which is what keeps memory small
        )
        return {key: array.concat() for key, array in arrays.items()}

    def _answer_part(self, images: tf.Tensor) -> Answers:
        if images.dtype == tf.string:
            pixels, valid = self._decode(images)
        else:
            pixels, valid = self._host_halves(images), tf.ones(tf.shape(images)[:1], tf.bool)
        logits, end_points = self._network_fn(
            self._preprocessing.device({"image": pixels}), is_training=False
        )
        features = _features(end_points, logits)
        if features.shape.rank == 4:
            features = tf.reduce_mean(features, axis=[1, 2])
        probabilities = tf.nn.softmax(logits)
        top = tf.math.top_k(probabilities, self._top_k)
        answers = {
            "logits": (logits, 0.0),
            "probabilities": (probabilities, 0.0),
            "features": (tf.cast(features, tf.float32), 0.0),
            "top_classes": (tf.gather(self.class_names, top.indices), ""),
            "top_names": (tf.gather(self._names_in_words, top.indices), ""),
            "top_indices": (top.indices, -1),
            "top_probabilities": (top.values, 0.0),
        }
        is_valid = valid[:, tf.newaxis]
        return {
            "valid": valid,
            **{key: tf.where(is_valid, *values) for key, values in answers.items()},
        }

    def _decode(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The host halves of encoded images, and which of them could be decoded.

        A graph cannot catch an error, but a dataset can leave out the elements that raise one. To
        make one for each image takes as long as to decode a small one, so that this is done only
        where one for all of them has failed.
        """

        def all_at_once(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return self._host_halves(images), tf.ones(tf.shape(images), tf.bool)

        def one_by_one(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            decoded, weights = tf.map_fn(
                lambda image: decoding.decode_or_zeros(
                    image, lambda image: {"image": self._host_half(image)}
                ),
                images,
                fn_output_signature=({"image": self._pixels_spec}, tf.TensorSpec([])),
            )
            return decoded["image"], weights > 0

        part = tf.data.Dataset.from_tensors(images)
        as_it_is = tf.autograph.experimental.do_not_convert
        good = part.map(as_it_is(all_at_once)).ignore_errors()
        return good.concatenate(part.map(as_it_is(one_by_one))).take(1).get_single_element()

    def _host_halves(self, images: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(self._host_half, images, fn_output_signature=self._pixels_spec)

    def _host_half(self, image: tf.Tensor) -> tf.Tensor:
        size = self._image_size
        image = limited(image, self._max_image_pixels)
        return self._preprocessing.host(image, size, size)["image"]

    @property
    def _pixels_spec(self) -> tf.TensorSpec:
        size = self._image_size
        shape = [size, size, self._network_fn.channels]
        return tf.TensorSpec(shape, self._preprocessing.pixel_dtype)


def _features(end_points: dict[str, tf.Tensor], logits: tf.Tensor) -> tf.Tensor:
    """What the last layer sees, or the logits if the network has no other end point."""
    names = [
        name for name in list(end_points)[:-1] if name.rpartition("/")[2].lower() not in _OF_CLASSES
    ]
    return end_points[names[-1]] if names else logits


def write_saved_model(classifier: ServableClassifier, folder: str) -> None:
    """Writes a SavedModel with both signatures into a folder; errors as TensorFlow has them.

    Its layers have the forms for a CPU, which a GPU runs too. A CPU has no kernels for some of
    those for a GPU.
    """
    with traced_for("CPU"):
        tf.saved_model.save(
            classifier,
            folder,
            signatures={
                "serving_default": classifier.serving_default,
                "serving_bytes": classifier.serving_bytes,
            },
        )
