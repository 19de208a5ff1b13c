"""The features of a classifier that describe an image: what its head computes logits from."""

from __future__ import annotations

from typing import Any

import keras

from transferkit.modeling.keras_graph import graph_nodes, is_functional
from transferkit.modeling.partition import find_root


def embedding_tensor(model: keras.Model) -> Any:
    """Return the Keras tensor (batch, size) of the pooled features.

    From the output down, that is the last tensor with one vector per image on which the output depends alone.

    Raises:
        ValueError: for a model without a graph.
    """
    if not is_functional(model):
        raise ValueError(
            f"`model` must have a graph of layers for features. Received: {model.name!r}, of class "
            f"{type(model).__name__}. Build it with the functional API."
        )
    found = model.outputs[0]
    needed = {id(found): found}
    for node in reversed(graph_nodes(model)):
        if not any(id(tensor) in needed for tensor in node.outputs):
            continue
        if any(len(tensor.shape) != 2 for tensor in node.inputs):
            break
        for tensor in node.outputs:
            needed.pop(id(tensor), None)
        needed |= {id(tensor): tensor for tensor in node.inputs}
        if len(needed) == 1:
            (found,) = needed.values()
    return found


def embedding_model(model: keras.Model) -> keras.Model:
    """Return the model from images to pooled features, without augmentation; it shares the layers of `model`.

    While the backbone is frozen, its features are those that training has cached.
    """
    features = embedding_tensor(model)
    root, _ = find_root(model, graph_nodes(model))
    return keras.Model(root, features, name=f"{model.name}_features")


def with_embedding(model: keras.Model) -> keras.Model:
    """Return the model from images to its output and its pooled features; it shares the layers of `model`."""
    return keras.Model(model.inputs, [model.outputs[0], embedding_tensor(model)], name=f"{model.name}_with_features")
