"""The interface of inference engines: a frozen model, ready to run on batches of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

Outputs = tuple[np.ndarray, ...]


class EngineError(RuntimeError):
    """An engine could not be created for a model, or its outputs differ from Keras'."""


class Engine(Protocol):
    """A model that can be run from any number of threads at once.

    Attributes:
        name: "keras", "frozen_graph" or "openvino".
        precision: "float32", "bfloat16" or "float16".
        batch_size: images per batch; more images are run in several batches.
        streams: number of batches that run concurrently.
    """

    name: str
    precision: str
    batch_size: int
    streams: int

    def __call__(self, images: np.ndarray) -> Outputs:
        """Return one float32 array per output of the model for images (n, height, width, 3), uint8 or float32."""


def batches(images: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Yield the images in batches of `batch_size`; the last may be smaller."""
    for start in range(0, len(images), batch_size):
        yield images[start : start + batch_size]


def pad_batch(images: np.ndarray, batch_size: int) -> np.ndarray:
    """Return float32 images, zero-padded to `batch_size`: a graph of fixed size runs faster.

    >>> pad_batch(np.ones((1, 2, 2, 3), np.uint8), 4).shape
    (4, 2, 2, 3)
    """
    if len(images) == batch_size:
        return np.ascontiguousarray(images, np.float32)
    full = np.zeros((batch_size, *images.shape[1:]), np.float32)
    full[: len(images)] = images
    return full


def run_batches(run: Callable[[np.ndarray], Outputs], images: np.ndarray, batch_size: int) -> Outputs:
    """Run zero-padded batches of `batch_size` one after another; return the rows of `images`."""
    parts = ((run(pad_batch(batch, batch_size)), len(batch)) for batch in batches(images, batch_size))
    return concatenate([tuple(output[:rows] for output in outputs) for outputs, rows in parts])


def concatenate(parts: Sequence[Outputs]) -> Outputs:
    """Return the outputs of several batches as those of one."""
    return parts[0] if len(parts) == 1 else tuple(np.concatenate(arrays) for arrays in zip(*parts))
