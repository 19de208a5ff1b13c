"""A functional model as a list of steps, each a layer with the tensors that go in and come out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class GraphNode:
    """One application of a layer or operation.

    Attributes:
        layer: the Keras layer or operation.
        inputs: the Keras tensors that go in.
        outputs: the Keras tensors that come out.
    """

    layer: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def is_functional(layer: Any) -> bool:
    """Return whether `layer` is a model whose graph can be looked into."""
    return isinstance(layer, keras.Model) and bool(getattr(layer, "_nodes_by_depth", None))


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield every layer of a model, those of nested models after the model that holds them."""
    for layer in model.layers:
        yield layer
        if getattr(layer, "layers", None):
            yield from all_layers(layer)


def graph_nodes(model: keras.Model) -> list[GraphNode]:
    """Return the steps of a functional model in an order in which they can be run."""
    graph = model._functional if isinstance(model, keras.Sequential) else model
    depths = graph._nodes_by_depth
    return [
        GraphNode(node.operation, tuple(node.input_tensors), tuple(node.outputs))
        for depth in sorted(depths, reverse=True)
        for node in depths[depth]
        if not node.is_input
    ]


def flatten(model: keras.Model) -> keras.Model:
    """Return a model of the same layers and weights in which no functional model is nested any more.

    Layers are shared with `model`: what trains the one trains the other.
    """
    inputs = keras.tree.map_structure(
        lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name), model.input
    )
    return keras.Model(inputs, _replay(model, inputs), name=model.name)


def estimate_macs(step: GraphNode) -> int:
    """Return about how many multiplications a step takes for one image: each weight once a position of the output."""
    weights = getattr(step.layer, "weights", None)
    if not weights:
        return 0
    positions = int(np.prod([side or 1 for side in step.outputs[0].shape[1:-1]]))
    return positions * max(int(np.prod(weight.shape)) for weight in weights)


def _replay(model: keras.Model, inputs: Any) -> Any:
    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.Sequential) and layer.built:
            layer = layer._functional
        if is_functional(layer):
            return _replay(layer, args[0])
        return layer(*args, **kwargs)

    graph = model._functional if isinstance(model, keras.Sequential) else model
    return graph._run_through_graph(inputs, call_fn=call)
