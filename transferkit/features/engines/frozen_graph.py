"""TensorFlow's own engine: the model as one graph in which the weights are constants. It is always there."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from transferkit.features.engines.base import padded

__all__ = ["FrozenGraph", "frozen_function"]


def frozen_function(model: keras.Model, batch_size: int) -> Any:
    """Return a TensorFlow function of float32 images (batch_size, height, width, 3) with the weights as constants.

    Args:
        model: from images to one or several outputs.
        batch_size: images at once.
    """

    @tf.function(input_signature=[tf.TensorSpec((batch_size, *model.input_shape[1:]), tf.float32)], autograph=False)
    def forward(images: tf.Tensor) -> list[tf.Tensor]:
        outputs = keras.tree.flatten(model(images, training=False))
        return [tf.cast(output, tf.float32) for output in outputs]

    return convert_variables_to_constants_v2(forward.get_concrete_function())


class FrozenGraph:
    """Runs a model as a TensorFlow graph of constants; on a GPU, where there is one."""

    name = "frozen_graph"
    precision = "float32"

    def __init__(self, function: Any, batch_size: int) -> None:
        self.batch_size = batch_size
        self._function = function

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        outputs = self._function(tf.constant(padded(images, self.batch_size)))
        return tuple(output.numpy()[: len(images)] for output in outputs)
