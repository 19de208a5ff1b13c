"""One affine transformation per image: flips, rotation, zoom, translation, random resized crop and a policy's moves.

A transformation is the six rows (xx, xy, x, yx, yy, y) of a map from output to input coordinates in pixels. Functions
take `ops`, which is keras.ops or NumPy: for a few images NumPy takes a tenth of TensorFlow's time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from transferkit.augmentation.policies import Operation

# Largest ratio between the width and the height of a random resized crop, relative to the image.
_MAX_RATIO = 4 / 3


def symmetric(random_values: Any, strength: float) -> Any:
    """Map values in [0, 1) to [-strength, strength)."""
    return (2 * random_values - 1) * strength


def to_matrices(rows: tuple[Any, ...], ops: Any) -> Any:
    """Return (n, 8), the transforms of `affine_transform`."""
    return ops.stack([*rows, ops.zeros_like(rows[0]), ops.zeros_like(rows[0])], axis=1)


def centered(linear: tuple[Any, ...], shift: tuple[Any, Any], size: tuple[Any, Any]) -> tuple[Any, ...]:
    """Return the map (xx, xy, yx, yy) about the center of the image, followed by a shift in fractions of the size."""
    xx, xy, yx, yy = linear
    height, width = size
    center_x, center_y = (width - 1) / 2, (height - 1) / 2
    x = center_x - xx * center_x - xy * center_y + shift[0] * width
    y = center_y - yx * center_x - yy * center_y + shift[1] * height
    return xx, xy, x, yx, yy, y


def compose(outer: tuple[Any, ...], inner: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the map that applies `inner` and then `outer`."""
    xx, xy, x, yx, yy, y = outer
    column_x, column_y, shift = inner[::3], inner[1::3], inner[2::3]
    return (
        xx * column_x[0] + xy * column_x[1],
        xx * column_y[0] + xy * column_y[1],
        xx * shift[0] + xy * shift[1] + x,
        yx * column_x[0] + yy * column_x[1],
        yx * column_y[0] + yy * column_y[1],
        yx * shift[0] + yy * shift[1] + y,
    )


def resized_crop(values: Any, areas: Sequence[float], size: tuple[Any, Any], ops: Any) -> tuple[Any, ...]:
    """Return the map that enlarges a part of the image to its size; `values` (n, 4): area, ratio and position."""
    height, width = size
    area = areas[0] + values[:, 0] * (areas[1] - areas[0])
    root = ops.exp(symmetric(values[:, 1], math.log(_MAX_RATIO) / 2))
    part_x, part_y = (ops.minimum(ops.sqrt(area) * factor, 1.0) for factor in (root, 1 / root))
    x = values[:, 2] * (1 - part_x) * width + (part_x - 1) / 2
    y = values[:, 3] * (1 - part_y) * height + (part_y - 1) / 2
    zero = ops.zeros_like(x)
    return part_x, zero, x, zero, part_y, y


def policy_move(operation: Operation, size: tuple[Any, Any], ops: Any) -> tuple[Any, ...]:
    """Return the map of an operation of a policy; the identity for images that it moves in no way."""
    policy = operation.policy
    angle = operation.signed("rotate", policy.rotation * 2 * math.pi, ops)
    shear_x, shear_y = operation.signed("shear_x", policy.shear, ops), operation.signed("shear_y", policy.shear, ops)
    right, down = (operation.signed(f"translate_{axis}", policy.translation, ops) for axis in "xy")
    cosine, sine = ops.cos(angle), ops.sin(angle)
    return centered((cosine, shear_x - sine, shear_y + sine, cosine), (right, down), size)
