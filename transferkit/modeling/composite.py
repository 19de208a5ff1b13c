"""Layers made of layers: which of them are blocks, and which only call a list of blocks in turn."""

from __future__ import annotations

import collections
from typing import Any

import keras

from transferkit.modeling.keras_graph import inner_layers, own_variables


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
    """Return whether a layer has no variables of its own and keeps at least two blocks of one class in a list.

    Such as the encoder of a vision transformer, whose `call` does nothing but to call its blocks in turn.
    """
    if not is_composite(layer) or own_variables(layer):
        return False
    lists = (value for value in vars(layer).values() if isinstance(value, list))
    return any(len(repeated_composites(values)) > 1 for values in lists)


def call_opened(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a layer on Keras tensors; a stack is replaced by the calls of its layers, each a node of the graph.

    The layers get the name of the stack as a prefix: names must be unique in a model.
    """
    if not is_stack(layer):
        return layer(*args, **kwargs)
    for inner in inner_layers(layer):
        if not inner.name.startswith(layer.name):
            inner.name = f"{layer.name}_{inner.name}"
    return layer.call(*args, **kwargs)
