"""TensorFlow's own engine: the model as a graph with constant weights. Always available, and used on GPUs."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from transferkit.modeling.keras_graph import all_layers
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
    with native_depthwise_conv(model), precision_scope(precision, layers):
        traced = forward.get_concrete_function()
    # With constants as weights there is nothing to freeze, which would take twice as long as tracing; but some layers
    # (Keras' Normalization) capture tensors.
    return convert_variables_to_constants_v2(traced) if traced.captured_inputs else traced


@contextlib.contextmanager
def native_depthwise_conv(model: keras.Model) -> Iterator[None]:
    """Trace convolutions with one group per channel as depthwise convolutions.

    ConvNeXt uses grouped convolutions, which Keras runs through XLA on a CPU: slow, and not supported by OpenVINO.
    """
    layers = [layer for layer in all_layers(model) if _is_depthwise(layer)]
    try:
        for layer in layers:
            object.__setattr__(layer, "convolution_op", functools.partial(_depthwise_conv, layer))
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("convolution_op", None)


def _is_depthwise(layer: Any) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and 1 < layer.groups == layer.filters
        and layer.kernel.shape[-2] == 1
        and layer.data_format == "channels_last"
        and layer.dilation_rate == (1, 1)
    )


def _depthwise_conv(layer: keras.layers.Conv2D, inputs: tf.Tensor, kernel: Any) -> tf.Tensor:
    filters = tf.transpose(tf.convert_to_tensor(kernel), (0, 1, 3, 2))
    return tf.nn.depthwise_conv2d(inputs, filters, (1, *layer.strides, 1), layer.padding.upper())


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
