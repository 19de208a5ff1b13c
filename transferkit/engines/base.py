"""What an engine is: a frozen Keras model, run on batches of images as fast as the machine allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

Outputs = tuple[np.ndarray, ...]


class EngineError(RuntimeError):
    """An engine could not be made for a model, or gave other numbers than Keras."""


class Engine(Protocol):
    """A model that is ready to run, from any number of threads at once.

    Attributes:
        name: "keras", "frozen_graph" or "openvino".
        precision: "float32" or "bfloat16".
        batch_size: images run together; of more, several such batches are run.
        streams: batches that it runs side by side.
    """

    name: str
    precision: str
    batch_size: int
    streams: int

    def __call__(self, images: np.ndarray) -> Outputs:
        """Return one float32 array for each output of the model.

        Args:
            images: uint8 or float32 (n, height, width, 3), n of at least 1.
        """


def batches(images: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Yield the images in batches of `batch_size`, the last with what is left."""
    for start in range(0, len(images), batch_size):
        yield images[start : start + batch_size]


def pad_batch(images: np.ndarray, batch_size: int) -> np.ndarray:
    """Return float32 images with black ones added up to `batch_size`: a graph of fixed size runs faster.

    >>> padded(np.ones((1, 2, 2, 3), np.uint8), 4).shape
    (4, 2, 2, 3)
    """
    if len(images) == batch_size:
        return np.ascontiguousarray(images, np.float32)
    full = np.zeros((batch_size, *images.shape[1:]), np.float32)
    full[: len(images)] = images
    return full


def run_batches(run: Callable[[np.ndarray], Outputs], images: np.ndarray, batch_size: int) -> Outputs:
    """Run batches of `batch_size`, filled up with black images, one after another; return the rows of `images`."""
    parts = ((run(pad_batch(batch, batch_size)), len(batch)) for batch in batches(images, batch_size))
    return concatenated([tuple(output[:rows] for output in outputs) for outputs, rows in parts])


def concatenated(parts: Sequence[Outputs]) -> Outputs:
    """Return the outputs of several batches as those of one."""
    return parts[0] if len(parts) == 1 else tuple(np.concatenate(arrays) for arrays in zip(*parts))
