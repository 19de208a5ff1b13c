"""Layers made of layers: which of them are blocks, and which only call a list of blocks in turn."""

from __future__ import annotations

import collections
import functools
import inspect
from typing import Any

import keras
import numpy as np

from transferkit.modeling.keras_graph import inner_layers, own_variables

_TRACED_BATCH = 251


def is_composite(layer: Any) -> bool:
    """Return whether a layer, other than one of Keras or a model, has layers with weights inside it."""
    is_own = isinstance(layer, keras.layers.Layer) and not isinstance(layer, keras.Model)
    if not is_own or type(layer).__module__.startswith("keras."):
        return False
    return any(inner.weights for inner in inner_layers(layer))


def repeated_composites(layers: list[Any]) -> list[Any]:
    """Return the composite layers whose class occurs more than once: the blocks of a model such as a transformer."""
    found = [layer for layer in layers if is_composite(layer)]
    counts = collections.Counter(type(layer) for layer in found)
    return [layer for layer in found if counts[type(layer)] > 1]


def is_stack(layer: Any) -> bool:
    """Return whether a layer has no own variables, and at least two blocks of one class in a list.

    Such as the encoder of a vision transformer, whose `call` does nothing but to call its blocks in turn.
    """
    if not is_composite(layer) or own_variables(layer):
        return False
    lists = (value for name, value in vars(layer).items() if isinstance(value, list) and not name.startswith("_"))
    return any(len(repeated_composites(values)) > 1 for values in lists)


def call_opened(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a layer on Keras tensors; a stack is replaced by the calls of its layers, each a node of the graph.

    The layers get the name of the stack as a prefix: names must be unique in a model.
    """
    if not is_stack(layer):
        _correct_output_shape(layer, args, kwargs)
        outputs = layer(*args, **kwargs)
        return _constant(layer, args, kwargs) if _is_constant(layer, outputs) else outputs
    for inner in inner_layers(layer):
        if not inner.name.startswith(layer.name):
            inner.name = f"{layer.name}_{inner.name}"
        if not _states_output_shape(inner):
            _trace_output_shape(inner)
    # The outputs of a node cannot be None, which some blocks return in place of scores that are not requested.
    requested = {name: True for name in inspect.signature(layer.call).parameters if name.startswith("return_")}
    return layer.call(*args, **{**kwargs, **requested})


def _correct_output_shape(layer: Any, args: Any, kwargs: Any) -> None:
    """Make the output shape of a layer the one of its `call`, where it states another or none.

    KerasHub's embedding of SigLIP states one token too many.
    """
    if not isinstance(layer, keras.layers.Layer) or type(layer).__module__.startswith("keras."):
        return
    if _states_output_shape(layer):
        stated, actual = (
            [tuple(tensor.shape) for tensor in keras.tree.flatten(compute(layer, *args, **kwargs))]
            for compute in (type(layer).compute_output_spec, _traced_output)
        )
        if stated == actual:
            return
    _trace_output_shape(layer)


def _states_output_shape(layer: Any) -> bool:
    return type(layer).compute_output_shape is not keras.layers.Layer.compute_output_shape


def _trace_output_shape(layer: Any) -> None:
    # Not by setattr, with which Keras would look for layers in it.
    layer.__dict__["compute_output_spec"] = functools.partial(_traced_output, layer)


def _traced_output(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the output of a layer on Keras tensors, from its `call` on a batch of known size.

    With an unknown one, the number of tokens would be unknown too after a layer that reshapes both.
    """

    def with_batch(value: Any, before: Any, after: Any) -> Any:
        if not isinstance(value, keras.KerasTensor) or value.shape[:1] != (before,):
            return value
        return keras.KerasTensor((after, *value.shape[1:]), value.dtype)

    # A prime number that is no other side, so that a flattened batch is not taken for one.
    args, kwargs = keras.tree.map_structure(lambda value: with_batch(value, None, _TRACED_BATCH), (args, kwargs))
    outputs = keras.Operation.compute_output_spec(layer, *args, **kwargs)
    return keras.tree.map_structure(lambda value: with_batch(value, _TRACED_BATCH, None), outputs)


def _is_constant(layer: Any, outputs: Any) -> bool:
    """Return whether the outputs of a layer without weights have no batch axis: they depend on the image size alone.

    Such as rotary position embeddings, which cannot be cached as features of images.
    """
    is_layer = isinstance(layer, keras.layers.Layer) and not isinstance(layer, keras.layers.InputLayer)
    return is_layer and not layer.weights and all(tensor.shape[:1] != (None,) for tensor in keras.tree.flatten(outputs))


def _constant(layer: Any, args: Any, kwargs: Any) -> Any:
    def zeros(value: Any) -> Any:
        if not isinstance(value, keras.KerasTensor):
            return value
        return np.zeros([side or 1 for side in value.shape], value.dtype)

    args, kwargs = keras.tree.map_structure(zeros, (args, kwargs))
    return keras.tree.map_structure(np.asarray, layer(*args, **kwargs))
