"""Rectangles of random position: random erasing, and the patches of CutMix."""

from __future__ import annotations

import math
from typing import Any

import keras

_AREAS = (0.02, 0.33)
_MAX_RATIO = 10 / 3
NUM_ERASING_VALUES = 8


def rectangles(sides: tuple[Any, Any], positions: tuple[Any, Any], size: tuple[Any, Any]) -> Any:
    """Return masks (n, height, width, 1), 1 inside: a pixel is inside if its center is.

    Args:
        sides: height and width as fractions of those of the image, (n,) each.
        positions: in [0, 1]: 0 is at the top or left, 1 at the bottom or right.
        size: (height, width) of the image.
    """
    ops = keras.ops
    inside = []
    for side, position, pixels in zip(sides, positions, size):
        centers = (ops.cast(ops.arange(pixels), "float32") + 0.5) / ops.cast(pixels, "float32")
        start = (position * (1 - side))[:, None]
        inside.append((centers >= start) & (centers < start + side[:, None]))
    return ops.cast(inside[0][:, :, None] & inside[1][:, None, :], "float32")[..., None]


def erase(images: Any, values: Any, probability: float) -> Any:
    """Return images in which a rectangle has, with a probability, one random color; `values` (n, 8) in [0, 1).

    The area is 2 % to 33 % of the image. keras.layers.RandomErasing is missing in Keras 3.8 and has no seed per image.

    Reference: Zhong et al., "Random Erasing Data Augmentation", 2017, arXiv:1708.04896.
    """
    ops = keras.ops
    root = ops.sqrt(_AREAS[0] + values[:, 1] * (_AREAS[1] - _AREAS[0]))
    ratio = ops.exp((2 * values[:, 2] - 1) * (math.log(_MAX_RATIO) / 2))
    sides = (ops.minimum(root * ratio, 1.0), ops.minimum(root / ratio, 1.0))
    masks = rectangles(sides, (values[:, 3], values[:, 4]), ops.shape(images)[1:3])
    erased = (masks > 0) & (values[:, :1, None, None] < probability)
    return ops.where(erased, 255 * values[:, None, None, 5:8], images)
