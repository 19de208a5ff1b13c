"""Keras itself as an engine: slow for many images, but ready at once, and the reference of all other engines."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from transferkit.engines.base import Outputs


class KerasEngine:
    """Calls the model eagerly, layer by layer."""

    name = "keras"
    precision = "float32"
    streams = 1

    def __init__(self, model: keras.Model, batch_size: int) -> None:
        self.batch_size = batch_size
        self._model = model

    def __call__(self, images: np.ndarray) -> Outputs:
        starts = range(0, len(images), self.batch_size)
        parts = [self._run(images[start : start + self.batch_size]) for start in starts]
        return parts[0] if len(parts) == 1 else tuple(np.concatenate(arrays) for arrays in zip(*parts))

    def _run(self, batch: np.ndarray) -> Outputs:
        outputs = keras.tree.flatten(self._model(tf.constant(batch, tf.float32), training=False))
        return tuple(np.asarray(output, np.float32) for output in outputs)
