"""Traces models with operations that all runtimes support, in place of those that Keras uses on TensorFlow."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transferkit.modeling.keras_graph import all_layers, replaced_operations


@contextlib.contextmanager
def portable_operations(model: keras.Model) -> Iterator[None]:
    """Trace a model with other operations of equal results inside the context.

    - Convolutions with one group per channel, as in ConvNeXt, become depthwise convolutions: Keras runs grouped ones
      through XLA on a CPU, which is slow and not supported by OpenVINO.
    - Rolling and updating a slice, as in Swin transformers, become slices, concatenations and paddings: LiteRT has no
      operation for the first, and OpenVINO none for the second.
    """
    layers = [layer for layer in all_layers(model) if _is_depthwise(layer)]
    try:
        for layer in layers:
            object.__setattr__(layer, "convolution_op", functools.partial(_depthwise_conv, layer))
        with replaced_operations({"numpy.roll": _roll, "core.slice_update": _slice_update}):
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


def _roll(original: Any, inputs: Any, shift: Any, axis: Any = None) -> Any:
    if axis is None:
        return original(inputs, shift, axis)
    for step, along in zip(np.atleast_1d(shift).tolist(), np.atleast_1d(axis).tolist()):
        length = inputs.shape[along]
        if length is None:
            return original(inputs, shift, axis)
        first = -step % length
        if first:
            inputs = tf.concat(tf.split(inputs, [first, length - first], along)[::-1], along)
    return inputs


def _slice_update(original: Any, inputs: Any, start_indices: Any, updates: Any) -> Any:
    inputs, updates = tf.convert_to_tensor(inputs), tf.convert_to_tensor(updates)
    is_known = all(isinstance(start, int) for start in start_indices)
    if not is_known or not inputs.shape.is_fully_defined() or not updates.shape.is_fully_defined():
        return original(inputs, start_indices, updates)
    ends = [total - start - size for total, start, size in zip(inputs.shape, start_indices, updates.shape)]
    paddings = list(zip(start_indices, ends))
    is_updated = np.pad(np.ones(updates.shape, bool), paddings)
    return tf.where(is_updated, tf.pad(updates, paddings), inputs)
