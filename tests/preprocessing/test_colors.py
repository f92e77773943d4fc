import numpy as np
import pytest
import tensorflow as tf

from preprocessing import colors


def images():
    """Eight images of 0 to 1, or beyond both, of which some pixels are grey, black or primary."""
    pixels = np.random.default_rng(0).uniform(-0.3, 1.3, (8, 20, 30, 3)).astype(np.float32)
    pixels[::2] = pixels[::2].clip(0, 1)
    pixels[:, 0] = pixels[:, 0, :, :1]
    pixels[:, 1] = 0
    pixels[:, 2, :, 0] = pixels[:, 2, :, 1]  # two that are largest or smallest
    pixels[:, 3, :, 2] = 0
    pixels[:, 4] = -np.abs(pixels[:, 4])
    pixels[:, 5] = np.round(pixels[:, 5].clip(0, 1))
    return tf.constant(pixels)


def changed(compiled=False, **numbers):
    def change(images):
        return tf.stack(colors.change(tf.unstack(images, axis=-1), **numbers), axis=-1)

    return tf.function(change, jit_compile=compiled)(images())


def one_by_one(adjust, numbers):
    return tf.stack([adjust(*pair) for pair in zip(images(), numbers, strict=True)])


FACTORS = tf.constant([0.0, 0.5, 0.8, 0.999, 1.001, 1.2, 1.5, 3.0])
TURNS = tf.constant([-1.0, -0.2, -0.1, 0.0, 0.07, 1 / 3, 0.5, 1.0])


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("name", "adjust", "numbers"),
    [
        ("contrast", tf.image.adjust_contrast, FACTORS),
        ("brightness", tf.image.adjust_brightness, TURNS),
        ("saturation", tf.image.adjust_saturation, FACTORS),
        ("hue", tf.image.adjust_hue, TURNS),
    ],
)
def test_a_change_is_that_of_tf_image(name, adjust, numbers, compiled):
    expected = one_by_one(adjust, numbers)
    np.testing.assert_allclose(changed(compiled, **{name: numbers}), expected, atol=2e-6)


@pytest.mark.parametrize(
    ("first", "second"), [("contrast", "brightness"), ("saturation", "hue"), ("hue", "saturation")]
)
def test_two_at_once_are_one_after_the_other(first, second):
    numbers = {"contrast": FACTORS, "brightness": TURNS, "saturation": FACTORS, "hue": TURNS}
    adjust = {name: getattr(tf.image, f"adjust_{name}") for name in numbers}

    def both(image, one, other):
        return adjust[second](adjust[first](image, one), other)

    triples = zip(images(), numbers[first], numbers[second], strict=True)
    expected = tf.stack([both(*triple) for triple in triples])
    found = changed(**{name: numbers[name] for name in (first, second)})
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_numbers_that_mean_no_change_make_none():
    ones, zeros = tf.ones([8]), tf.zeros([8])
    found = changed(contrast=ones, brightness=zeros, saturation=ones, hue=zeros)
    np.testing.assert_allclose(found, images(), atol=2e-6)
