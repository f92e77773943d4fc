import itertools

import numpy as np
import pytest

from image_datasets.shape_drawing import IMAGE_SIZE, SHAPES, draw_shape


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_seed_draws_the_same_image(shape):
    first, second = (draw_shape(shape, np.random.default_rng(3)) for _ in range(2))
    assert first.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    assert (first != draw_shape(shape, np.random.default_rng(4))).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_fills_a_visible_part_of_the_unit_disc_and_stays_inside(shape):
    y, x = np.mgrid[-1.2:1.2:241j, -1.2:1.2:241j].astype(np.float32)
    inside = SHAPES[shape](x, y) < 0
    radius = np.hypot(x, y)
    # Were a shape to leave the disc, it could leave the image.
    assert radius[inside].max() <= 1.01
    assert radius[inside].max() >= 0.9
    assert 0.2 < inside.sum() / (radius < 1).sum() <= 1


def _polygon(corners):
    angles = 2 * np.pi * np.arange(corners) / corners

    def implicit_function(x, y):
        sides = [x * np.cos(angle) + y * np.sin(angle) for angle in angles]
        return np.max(sides, axis=0) - np.cos(np.pi / corners)

    return implicit_function


def _least_difference(first, second):
    """The share of two outlines' union that they do not share, at best rotation.

    Both are moved to the same centre of mass and scaled to the same area.
    """
    y, x = np.mgrid[-2:2:101j, -2:2:101j].astype(np.float32)

    def mask(implicit_function, angle):
        inside = implicit_function(x, y) < 0
        scale = np.sqrt(inside.mean()) * 3
        turned_x = np.cos(angle) * x - np.sin(angle) * y
        turned_y = np.sin(angle) * x + np.cos(angle) * y
        return (
            implicit_function(
                turned_x * scale + x[inside].mean(), turned_y * scale + y[inside].mean()
            )
            < 0
        )

    fixed = mask(first, 0)
    turned = [mask(second, angle) for angle in np.linspace(0, 2 * np.pi, 72, endpoint=False)]
    return min((fixed ^ other).sum() / (fixed | other).sum() for other in turned)


def test_no_two_shapes_look_alike_at_any_rotation_and_size():
    difference = {
        pair: _least_difference(*(SHAPES[name] for name in pair))
        for pair in itertools.combinations(SHAPES, 2)
    }
    closest = min(difference, key=difference.__getitem__)
    # Pentagon and hexagon are what a network at 224 pixels should not have to tell apart.
    assert difference[closest] > 1.25 * _least_difference(_polygon(5), _polygon(6)), closest


@pytest.mark.parametrize("seed", range(20))
def test_only_the_outline_tells_the_class(seed):
    # Far from the centre of any shape the images agree: same background, same grain.
    images = np.stack([draw_shape(shape, np.random.default_rng(seed)) for shape in SHAPES])
    same = (images == images[:1]).all(axis=(0, 3))
    assert same.mean() > 1 - 0.8**2
    assert not same.all()


@pytest.mark.parametrize("seed", range(20))
def test_a_shape_stands_out_from_its_background(seed):
    images = [draw_shape(s, np.random.default_rng(seed)).astype(float) for s in ("circle", "ring")]
    hole = np.linalg.norm(images[0] - images[1], axis=-1) > 60
    # The ring's hole is 0.56 of the circle's diameter; through it one sees the background.
    share = hole.sum() / IMAGE_SIZE**2
    assert np.pi / 4 * (0.55 * 0.55) ** 2 < share < np.pi / 4 * (0.57 * 0.85) ** 2
    contrast = np.linalg.norm(images[0][hole] - images[1][hole], axis=-1)
    assert np.median(contrast) > 100
