"""Which feature map of a model is explained: the last one before pooling, also inside a nested backbone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from transferkit._utils.checks import did_you_mean
from transferkit.modeling.keras_graph import GraphNode, all_nodes, graph_nodes, is_functional

# Their outputs have fewer positions than the map below, or zeros around it.
_NO_MAP_LAYERS = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D, keras.layers.ZeroPadding2D)
_OTHER_METHODS = "Use method='integrated_gradients' or method='occlusion', which need no feature map."


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureMap:
    """A tensor (batch, height, width, channels) inside a model.

    Attributes:
        tensor: the Keras tensor.
        layer: name of the layer that returns it.
    """

    tensor: Any
    layer: str


def find_feature_map(model: keras.Model, layer: str | None = None) -> FeatureMap:
    """Return the last feature map with more than one position before pooling, or that of the layer called `layer`.

    A map that everything passes through is preferred to one branch of several. Max and average pooling at the end of a
    backbone, as in VGG, are left out: the map below has more positions.

    Raises:
        ValueError: when there is none, or `layer` has another output.
    """
    if layer is not None:
        return _map_of_layer(model, layer)
    maps = [pair for pair in _nodes_above_weights(model) if not isinstance(pair[0].layer, _NO_MAP_LAYERS)]
    if not maps:
        raise ValueError(
            "A class activation map requires a model with a feature map (batch, height, width, channels) of more than "
            f"one position after a layer with weights. Received: {model.name!r}, without. {_OTHER_METHODS}"
        )
    node = next((node for node, is_cut in reversed(maps) if is_cut), maps[-1][0])
    return FeatureMap(node.outputs[0], node.layer.name)


def _map_of_layer(model: keras.Model, name: str) -> FeatureMap:
    nodes = list(all_nodes(model))
    names = [node.layer.name for node in nodes]
    if name not in names:
        hint = did_you_mean(name, names) or "See model.summary(expand_nested=True)."
        raise ValueError(f"`layer` must be the name of a layer of the model. Received: {name!r}. {hint}")
    node = nodes[len(names) - 1 - names[::-1].index(name)]
    if not _is_map(node):
        shapes = [tuple(tensor.shape) for tensor in node.outputs]
        raise ValueError(
            "`layer` must return a feature map (batch, height, width, channels) of more than one position. Received: "
            f"{name!r}, which returns {shapes}. {_OTHER_METHODS}"
        )
    return FeatureMap(node.outputs[0], name)


def _nodes_above_weights(model: keras.Model) -> Iterator[tuple[GraphNode, bool]]:
    """Yield the nodes with feature maps, from the first layer with a kernel on: those before it are still images."""
    has_kernel = False
    for node, is_cut in _nodes_and_cuts(model):
        has_kernel = has_kernel or any(len(weight.shape) > 1 for weight in getattr(node.layer, "weights", ()))
        if has_kernel and _is_map(node):
            yield node, is_cut


def _nodes_and_cuts(model: keras.Model, is_inside_cut: bool = True) -> Iterator[tuple[GraphNode, bool]]:
    """Yield the nodes as `all_nodes` does, each with whether every path from image to output passes through it."""
    nodes = graph_nodes(model)
    producers = {id(tensor): index for index, node in enumerate(nodes) for tensor in node.outputs}
    # The first node whose output is used after each node: where that is the node itself, no path leads around it.
    earliest = [min(producers.get(id(tensor), -1) for tensor in model.outputs)]
    for node in nodes[:0:-1]:
        earliest.append(min([earliest[-1], *(producers.get(id(tensor), -1) for tensor in node.inputs)]))
    for index, (node, first) in enumerate(zip(nodes, reversed(earliest))):
        is_cut = is_inside_cut and first >= index
        if is_functional(node.layer):
            yield from _nodes_and_cuts(node.layer, is_cut)
        else:
            yield node, is_cut


def _is_map(node: GraphNode) -> bool:
    shape = tuple(node.outputs[0].shape)
    has_size = len(node.outputs) == 1 and len(shape) == 4 and None not in shape[1:]
    return has_size and shape[1] * shape[2] > 1 and keras.backend.is_float_dtype(node.outputs[0].dtype)
