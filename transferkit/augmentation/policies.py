"""RandAugment and TrivialAugment: each image gets operations that are chosen at random from one list."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from transferkit.augmentation.color import auto_contrast, equalize, grayscale, smoothed

_EPSILON = 1e-3
VALUES_PER_OPERATION = 3
# The list of both papers. Names of moves are resolved in `geometry`.
OPERATIONS = (
    *("identity", "auto_contrast", "equalize", "rotate", "solarize", "saturation", "posterize"),
    *("contrast", "brightness", "sharpness", "shear_x", "shear_y", "translate_x", "translate_y"),
)


@dataclasses.dataclass(frozen=True)
class Policy:
    """Number and largest strengths of the operations; `magnitude` None is uniform in [0, 1]."""

    num_operations: int
    magnitude: float | None
    rotation: float
    shear: float
    translation: float
    blend: float
    bits: int


POLICIES: dict[str | None, Policy | None] = {
    None: None,
    "rand_augment": Policy(2, 9 / 30, 30 / 360, 0.3, 150 / 331, 0.9, 4),
    "trivial_augment": Policy(1, None, 135 / 360, 0.99, 32 / 224, 0.99, 6),
}


class Operation:
    """The operation of each image: index in `OPERATIONS`, magnitude in [0, 1] and sign, (n,) each."""

    def __init__(self, policy: Policy, values: Any, ops: Any) -> None:
        self.policy = policy
        self.index: Any = ops.floor(values[:, 0] * len(OPERATIONS))
        self.magnitude: Any = values[:, 1] if policy.magnitude is None else policy.magnitude + 0 * values[:, 1]
        self._sign = ops.where(values[:, 2] < 0.5, -1.0, 1.0)

    def signed(self, name: str, strength: float, ops: Any) -> Any:
        """Return the signed strength of the operation `name`, and 0 for images with another operation."""
        return ops.where(self.index == OPERATIONS.index(name), self._sign * self.magnitude * strength, 0.0)

    def change_color(self, images: Any) -> Any:
        """Return the images, those with an operation on colors changed."""
        index = tf.cast(self.index, "int32")
        rows = tf.dynamic_partition(tf.range(tf.shape(index)[0]), index, len(OPERATIONS))
        # Each function sees only its images: all functions on all images take 15 times as long.
        parts = tf.dynamic_partition(images, index, len(OPERATIONS))
        changed = [self._change(name, part, row) for name, part, row in zip(OPERATIONS, parts, rows)]
        return tf.dynamic_stitch(rows, changed)

    def _change(self, name: str, images: Any, rows: Any) -> Any:
        if name not in _COLOR_OPERATIONS:
            return images
        strength = self._sign * self.magnitude * self.policy.blend + 1
        if name in ("solarize", "posterize"):
            strength = self.magnitude * (self.policy.bits if name == "posterize" else 1)
        return _COLOR_OPERATIONS[name](images, tf.gather(strength, rows)[:, None, None, None])


def operations(policy: Policy | None, values: Any, ops: Any) -> Iterator[Operation]:
    """Yield the operations of the images in their order; `values` (n, at least 3 per operation)."""
    for number in range(policy.num_operations if policy is not None else 0):
        first = number * VALUES_PER_OPERATION
        yield Operation(policy, values[:, first : first + VALUES_PER_OPERATION], ops)  # type: ignore[arg-type]


def _blend(base: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def blend(images: Any, factor: Any) -> Any:
        start = base(images)
        return keras.ops.clip(start + factor * (images - start), 0, 255)

    return blend


def _solarize(images: Any, magnitude: Any) -> Any:
    # The tolerance keeps rounding errors of a whole gray level on one side of the threshold.
    return keras.ops.where(images >= 255 * (1 - magnitude) - _EPSILON, 255 - images, images)


def _posterize(images: Any, bits: Any) -> Any:
    step = 2 ** keras.ops.floor(bits + 0.5)
    return keras.ops.where(step > 1, step * keras.ops.floor((images + _EPSILON) / step), images)


# Functions of images and strength. A factor of 0 is the base of a blend, 1 the image.
_COLOR_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "auto_contrast": lambda images, _: auto_contrast(images),
    "equalize": lambda images, _: equalize(images),
    "solarize": _solarize,
    "posterize": _posterize,
    "saturation": _blend(grayscale),
    "contrast": _blend(lambda images: keras.ops.mean(grayscale(images), axis=(1, 2), keepdims=True)),
    "brightness": _blend(keras.ops.zeros_like),
    "sharpness": _blend(smoothed),
}
