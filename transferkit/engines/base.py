"""The interface of inference engines, and Keras itself as the reference engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from transferkit._utils.text import printable
from transferkit.errors import MissingExtraError
from transferkit.runtimes.base import Outputs, concatenate

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
