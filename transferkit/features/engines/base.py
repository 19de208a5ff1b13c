"""What an engine is: a frozen Keras model, run on batches of images as fast as the machine allows."""

from __future__ import annotations

from typing import Protocol

import numpy as np

__all__ = ["Engine", "EngineError", "padded"]


class EngineError(RuntimeError):
    """An engine could not be made for a model, or gave other numbers than Keras."""


class Engine(Protocol):
    """A model that is ready to run.

    Attributes:
        name: "keras", "frozen_graph" or "openvino".
        precision: "float32" or "bfloat16".
        batch_size: images run at once.
    """

    name: str
    precision: str
    batch_size: int

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return one float32 array for each output of the model.

        Args:
            images: uint8 or float32 (n, height, width, 3), n of at most `batch_size`.
        """


def padded(images: np.ndarray, batch_size: int) -> np.ndarray:
    """Return float32 images with black ones added up to `batch_size`: a graph of fixed size runs faster.

    >>> padded(np.ones((1, 2, 2, 3), np.uint8), 4).shape
    (4, 2, 2, 3)
    """
    if len(images) == batch_size:
        return np.ascontiguousarray(images, np.float32)
    full = np.zeros((batch_size, *images.shape[1:]), np.float32)
    full[: len(images)] = images
    return full
