"""TensorFlow's own engine: the model as a graph with constant weights. Always available, and used on GPUs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from transferkit.engines.portable_operations import portable_operations
from transferkit.modeling.precision import mixed_precision_layers, precision_scope
from transferkit.runtimes.base import Outputs, run_batches


def frozen_function(model: keras.Model, batch_size: int, precision: str = "float32") -> Any:
    """Return a TensorFlow function of float32 images (batch_size, height, width, 3) with constant weights.

    Layers that gain from `precision` compute in it; outputs are float32.
    """
    variables = model.trainable_variables, model.non_trainable_variables
    values = [[np.asarray(variable) for variable in group] for group in variables]

    @tf.function(input_signature=[tf.TensorSpec((batch_size, *model.input_shape[1:]), tf.float32)], autograph=False)
    def forward(images: tf.Tensor) -> list[tf.Tensor]:
        trainable, others = ([tf.constant(value) for value in group] for group in values)
        outputs, _ = model.stateless_call(trainable, others, images, training=False)
        return [tf.cast(output, tf.float32) for output in keras.tree.flatten(outputs)]

    layers = [] if precision == "float32" else mixed_precision_layers(model)
    with portable_operations(model), precision_scope(precision, layers):
        traced = forward.get_concrete_function()
    # With constants as weights there is nothing to freeze, which would take twice as long as tracing; but some layers
    # (Keras' Normalization) capture tensors.
    return convert_variables_to_constants_v2(traced) if traced.captured_inputs else traced


class FrozenGraph:
    """Runs a model as a TensorFlow graph of constants."""

    name = "frozen_graph"
    # TensorFlow divides one batch among all cores.
    streams = 1

    def __init__(self, function: Any, batch_size: int, precision: str = "float32") -> None:
        self.batch_size: int = batch_size
        self.precision: str = precision
        self._function = function

    def __call__(self, images: np.ndarray) -> Outputs:
        return run_batches(
            lambda batch: tuple(output.numpy() for output in self._function(tf.constant(batch))),
            images,
            self.batch_size,
        )
