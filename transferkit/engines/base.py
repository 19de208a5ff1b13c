"""The interface of inference engines, and Keras itself as the reference engine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from transferkit._utils.text import printable
from transferkit.errors import MissingExtraError

Outputs = tuple[np.ndarray, ...]
_MAX_REASON = 300


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


class KerasEngine:
    """Calls the model eagerly, layer by layer: slow for many images, but ready at once."""

    name = "keras"
    precision = "float32"
    streams = 1

    def __init__(self, model: keras.Model, batch_size: int) -> None:
        self.batch_size = batch_size
        self._model = model

    def __call__(self, images: np.ndarray) -> Outputs:
        parts = []
        for start in range(0, len(images), self.batch_size):
            batch = tf.constant(images[start : start + self.batch_size], tf.float32)
            with engine_errors(self._model):
                outputs = keras.tree.flatten(self._model(batch, training=False))
            parts.append(tuple(np.asarray(output, np.float32) for output in outputs))
        return concatenate(parts)


@contextlib.contextmanager
def engine_errors(model: keras.Model) -> Iterator[None]:
    """Raise an EngineError for any error of a layer, as in a model with an invalid configuration."""
    try:
        yield
    except (EngineError, MissingExtraError, MemoryError):
        raise
    except Exception as error:
        reason = printable(" ".join(str(error).split()))[:_MAX_REASON]
        raise EngineError(
            f"A model must run on images of its input size. Received: {model.name!r}, which raises "
            f"{type(error).__name__} ({reason}). Correct its layers."
        ) from error


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
    parts = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        parts.append(tuple(output[: len(batch)] for output in run(pad_batch(batch, batch_size))))
    return concatenate(parts)


def concatenate(parts: Sequence[Outputs]) -> Outputs:
    """Return the outputs of several batches as those of one."""
    return parts[0] if len(parts) == 1 else tuple(np.concatenate(arrays) for arrays in zip(*parts))
