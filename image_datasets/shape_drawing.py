"""Draws one filled shape on a textured background, with NumPy alone.

A shape is an implicit function on the unit disc: negative inside, positive outside, and near its
outline about the distance to it, which is what makes the edges smooth after scaling to pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from slimzoo_registry import Registry

Plane = npt.NDArray[np.floating[Any]]

IMAGE_SIZE = 256
"""Height and width of an image, in pixels."""

# The shape's diameter as a fraction of the side. Larger ones would leave no room to move.
_SMALLEST_DIAMETER = 0.55
_LARGEST_DIAMETER = 0.85

# Radians, either way. Upright shapes on a darker ground give a network something to learn in its
# first steps; with any rotation and either polarity the mean of every class is the same grey, and
# AlexNet spends several epochs of 2,000 images at chance.
_LARGEST_ROTATION = math.pi / 6

# Grey levels, 0 to 255. The mean of R, G and B of a shape is above its background's by this much.
_LEAST_CONTRAST = 80.0
# An RGB distance, 0 to 441. Backgrounds whose two colours are further apart hide the outline.
_LARGEST_TEXTURE = 60.0

# Standard deviation, 0 to 255, of the grain that keeps flat areas from being exactly constant.
_GRAIN = 4.0

_ROWS, _COLUMNS = np.mgrid[0:IMAGE_SIZE, 0:IMAGE_SIZE].astype(np.float32)

SHAPES: Registry[Callable[[Plane, Plane], Plane]] = Registry("shape")
"""From a class name to its implicit function of the coordinates x and y."""


@SHAPES.register("arrow")
def _arrow(x: Plane, y: Plane) -> Plane:
    y = np.abs(y)
    head = np.maximum(0.1 - x, 0.64 * (x - 1) + 0.768 * y)
    shaft = np.maximum(np.abs(x + 0.4) - 0.56, y - 0.24)
    return np.minimum(head, shaft)


@SHAPES.register("circle")
def _circle(x: Plane, y: Plane) -> Plane:
    return np.hypot(x, y) - 1


@SHAPES.register("crescent")
def _crescent(x: Plane, y: Plane) -> Plane:
    return np.maximum(np.hypot(x, y) - 1, 0.8 - np.hypot(x - 0.5, y))


@SHAPES.register("cross")
def _cross(x: Plane, y: Plane) -> Plane:
    x, y = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(x - 0.3, y - 0.95), np.maximum(y - 0.3, x - 0.95))


@SHAPES.register("heart")
def _heart(x: Plane, y: Plane) -> Plane:
    # A square standing on its corner and a disc on each upper side, scaled and moved into the disc.
    side = 0.56
    x, y = x + 0.26 * side, y + 0.26 * side
    square = np.maximum(np.abs(x), np.abs(y)) - side
    discs = np.minimum(np.hypot(x - side, y), np.hypot(x, y - side)) - side
    return np.minimum(square, discs)


@SHAPES.register("hourglass")
def _hourglass(x: Plane, y: Plane) -> Plane:
    x, y = np.abs(x), np.abs(y)
    return np.maximum(x - 0.78, 0.8 * (y - 0.08) - 0.56 * x)


@SHAPES.register("ring")
def _ring(x: Plane, y: Plane) -> Plane:
    return np.abs(np.hypot(x, y) - 0.78) - 0.22


@SHAPES.register("square")
def _square(x: Plane, y: Plane) -> Plane:
    return np.maximum(np.abs(x), np.abs(y)) - math.sqrt(0.5)


@SHAPES.register("star")
def _star(x: Plane, y: Plane) -> Plane:
    # The plane is folded onto half of one of the five points, which is bounded by a single line
    # from the tip at radius 1 to the notch at radius 0.42.
    half_turn = math.pi / 5
    angle = np.abs((np.arctan2(y, x) + half_turn) % (2 * half_turn) - half_turn)
    radius = np.hypot(x, y)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    notch_x, notch_y = 0.42 * math.cos(half_turn), 0.42 * math.sin(half_turn)
    length = math.hypot(notch_x - 1, notch_y)
    return ((x - 1) * notch_y + y * (1 - notch_x)) / length


@SHAPES.register("triangle")
def _triangle(x: Plane, y: Plane) -> Plane:
    return np.maximum(-x, 0.5 * x + math.sqrt(0.75) * np.abs(y)) - 0.5


def draw_shape(shape: str, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Draws `shape` with random position, size, rotation, colours and background.

    Nothing but the outline depends on `shape`: the same `rng` gives every shape the same
    position, size, rotation, colours and background.

    Args:
      shape: a name in `SHAPES`.
      rng: where all random choices come from.

    Returns:
      uint8 [256, 256, 3], RGB. The shape lies inside the image as a whole.

    Raises:
      ValueError: if `shape` is unknown.
    """
    implicit_function = SHAPES[shape]
    foreground, background, other_background = _random_colors(rng)
    texture = _random_texture(rng)
    # Channels come first until the end: a last axis of three makes NumPy several times slower.
    image = texture * (other_background - background)
    image += background

    radius = 0.5 * IMAGE_SIZE * rng.uniform(_SMALLEST_DIAMETER, _LARGEST_DIAMETER)
    center_x = rng.uniform(radius, IMAGE_SIZE - radius)
    center_y = rng.uniform(radius, IMAGE_SIZE - radius)
    # Only the square around the shape is computed, a third of the image on average.
    box = (_box(center_y, radius), _box(center_x, radius))
    angle = rng.uniform(-_LARGEST_ROTATION, _LARGEST_ROTATION)
    x, y = _rotated(angle, (_COLUMNS[box] - center_x) / radius, (_ROWS[box] - center_y) / radius)
    coverage = np.clip(0.5 - radius * implicit_function(x, y), 0, 1)
    image[(slice(None), *box)] += coverage * (foreground - image[(slice(None), *box)])

    image += _GRAIN * rng.standard_normal((IMAGE_SIZE, IMAGE_SIZE), dtype=np.float32)
    np.clip(image, 0, 255, out=image)
    return image.astype(np.uint8).transpose(1, 2, 0).copy()


def _box(center: float, radius: float) -> slice:
    """Returns the pixels along one axis that a disc and its smooth edge can touch."""
    return slice(max(0, int(center - radius) - 1), int(center + radius) + 2)


def _random_colors(rng: np.random.Generator) -> tuple[Plane, Plane, Plane]:
    """Returns the colours of shape and background (two extremes), each float32 [3, 1, 1]."""
    background = rng.uniform(0, 130, size=3)
    direction = rng.standard_normal(3)
    direction *= rng.uniform(0.5, 1) * _LARGEST_TEXTURE / np.linalg.norm(direction)
    other_background = np.clip(background + direction, 0, 255)
    while True:
        foreground = rng.uniform(0, 255, size=3)
        brightest_background = max(background.mean(), other_background.mean())
        if foreground.mean() - brightest_background >= _LEAST_CONTRAST:
            break
    first, second, third = (
        color.astype(np.float32).reshape(3, 1, 1)
        for color in (foreground, background, other_background)
    )
    return first, second, third


def _random_texture(rng: np.random.Generator) -> Plane:
    """Returns a pattern, float32 [256, 256] in 0 to 1: noise, stripes, a gradient or checks."""
    kind = rng.choice(["noise", "stripes", "gradient", "checks"])
    if kind == "noise":
        return _smooth_noise(rng)
    x, y = _rotated(rng.uniform(0, 2 * math.pi), _COLUMNS, _ROWS)
    if kind == "gradient":
        x -= x.min()
        return x / x.max()
    period = rng.uniform(12, 64)
    wave = np.sin(x * (2 * math.pi / period))
    if kind == "checks":
        wave = wave * np.sin(y * (2 * math.pi / period))
    # Steep enough to be a stripe, smooth enough not to alias.
    return np.clip(0.5 + 3 * wave, 0, 1)


def _smooth_noise(rng: np.random.Generator) -> Plane:
    """Returns random values on a coarse grid, interpolated to float32 [256, 256] in 0 to 1."""
    cells = int(rng.integers(6, 32))
    grid = rng.random((cells + 1, cells + 1), dtype=np.float32)
    positions = np.linspace(0, cells, IMAGE_SIZE, endpoint=False, dtype=np.float32)
    left = positions.astype(np.int64)
    weight = positions - left
    rows = grid[left] + weight[:, None] * (grid[left + 1] - grid[left])
    return rows[:, left] + weight * (rows[:, left + 1] - rows[:, left])


def _rotated(angle: float, x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Returns the coordinates turned by `angle`, in radians."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return cosine * x - sine * y, sine * x + cosine * y
