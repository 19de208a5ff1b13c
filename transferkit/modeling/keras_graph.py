"""The graph of a functional Keras model. The only module that uses Keras' internals."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class GraphNode:
    """One call of a layer or operation.

    Attributes:
        layer: the Keras layer or operation.
        inputs: Keras tensors.
        outputs: Keras tensors.
    """

    layer: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def is_functional(layer: Any) -> bool:
    """Return whether `layer` is a model with an accessible graph."""
    return isinstance(layer, keras.Model) and bool(getattr(layer, "_nodes_by_depth", None))


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield every layer of a model; those of nested models follow the nested model."""
    for layer in model.layers:
        yield layer
        if getattr(layer, "layers", None):
            yield from all_layers(layer)


def graph_nodes(model: keras.Model) -> list[GraphNode]:
    """Return the nodes of a functional model in topological order."""
    graph = model._functional if isinstance(model, keras.Sequential) else model
    depths = graph._nodes_by_depth
    return [
        GraphNode(node.operation, tuple(node.input_tensors), tuple(node.outputs))
        for depth in sorted(depths, reverse=True)
        for node in depths[depth]
        if not node.is_input
    ]


def flatten(model: keras.Model) -> keras.Model:
    """Return a model with the same layers and weights, in which no functional model is nested."""
    inputs = keras.tree.map_structure(
        lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name), model.input
    )
    return keras.Model(inputs, _rebuild(model, inputs), name=model.name)


def find_backbone(model: keras.Model) -> keras.Model:
    """Return the nested model with the most parameters, or `model` itself where none is nested."""
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model) and layer.weights]
    return max(nested, key=lambda layer: layer.count_params()) if nested else model


def estimate_macs(node: GraphNode) -> int:
    """Return about how many multiply-accumulates a node takes per image: each weight once per output position."""
    weights = getattr(node.layer, "weights", None)
    if not weights:
        return 0
    positions = int(np.prod([side or 1 for side in node.outputs[0].shape[1:-1]]))
    return positions * max(int(np.prod(weight.shape)) for weight in weights)


def _rebuild(model: keras.Model, inputs: Any) -> Any:
    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.Sequential) and layer.built:
            layer = layer._functional
        if is_functional(layer):
            return _rebuild(layer, args[0])
        return layer(*args, **kwargs)

    graph = model._functional if isinstance(model, keras.Sequential) else model
    # Keras before 3.14 requires `operation_fn`.
    return graph._run_through_graph(inputs, operation_fn=lambda operation: operation, call_fn=call)
