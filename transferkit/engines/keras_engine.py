"""Keras itself, layer by layer: slow for many images, but ready at once."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from transferkit.engines.base import Outputs, batches, concatenated


class KerasEngine:
    """Calls the model as it is; what the other engines are held against."""

    name = "keras"
    precision = "float32"
    streams = 1

    def __init__(self, model: keras.Model, batch_size: int) -> None:
        self.batch_size = batch_size
        self._model = model

    def __call__(self, images: np.ndarray) -> Outputs:
        return concatenated([self._run(batch) for batch in batches(images, self.batch_size)])

    def _run(self, batch: np.ndarray) -> Outputs:
        outputs = keras.tree.flatten(self._model(tf.constant(batch, tf.float32), training=False))
        return tuple(np.asarray(output, np.float32) for output in outputs)
