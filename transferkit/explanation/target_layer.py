"""Which feature map of a model is explained: the last one before pooling, also inside a nested backbone.

Of a transformer, the tokens of the patches are the map. A class token after the last block depends on the patches only
through this block, so that the map is its input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from transferkit._utils.checks import did_you_mean
from transferkit.modeling.composite import is_composite, repeated_composites
from transferkit.modeling.keras_graph import GraphNode, all_nodes, graph_nodes, is_functional
from transferkit.modeling.token_grid import TokenGrid, find_token_grid

# Their outputs have fewer positions than the map below, or zeros around it.
_NO_MAP_LAYERS = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D, keras.layers.ZeroPadding2D)
_ATTENTION = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)
_OTHER_METHODS = "Use method='integrated_gradients' or method='occlusion', which need no feature map."


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureMap:
    """A tensor (batch, height, width, channels) or (batch, tokens, channels) inside a model.

    Attributes:
        tensor: the Keras tensor.
        layer: name of the layer that returns it.
        grid: positions of the tokens, or None for a tensor of rank 4.
    """

    tensor: Any
    layer: str
    grid: TokenGrid | None = None

    def to_maps(self, values: np.ndarray) -> np.ndarray:
        """Return values or gradients of the tensor as maps (batch, height, width, channels)."""
        if self.grid is None:
            return values
        return values[:, self.grid.prefix :].reshape(len(values), self.grid.rows, self.grid.columns, -1)


def find_feature_map(model: keras.Model, layer: str | None = None) -> FeatureMap:
    """Return the last feature map with more than one position before pooling, or that of the layer called `layer`.

    A map that everything passes through is preferred to one branch of several. Max and average pooling at the end of a
    backbone, as in VGG, are left out: the map below has more positions. Where tokens come last, the map is that of the
    tokens of patches below the last block.

    Raises:
        ValueError: when there is none, or `layer` has another output.
    """
    if layer is not None:
        return _map_of_layer(model, layer)
    size = tuple(model.input_shape[1:3])
    maps = [pair for pair in _nodes_above_weights(model, size) if not isinstance(pair[0].layer, _NO_MAP_LAYERS)]
    if not maps:
        raise ValueError(
            "A class activation map requires a model with a feature map (batch, height, width, channels) of more than "
            f"one position, or tokens of patches, after a layer with weights. Received: {model.name!r}, without. "
            f"{_OTHER_METHODS}"
        )
    has_tokens = _is_tokens(maps[-1][0], size)
    maps = _below_last_block(maps, size) if has_tokens else [pair for pair in maps if _is_map(pair[0])]
    node = next((node for node, is_cut in reversed(maps) if is_cut), maps[-1][0])
    return _feature_map(node, size)


def _feature_map(node: GraphNode, size: tuple[int, int]) -> FeatureMap:
    grid = None if _is_map(node) else find_token_grid(node.outputs[0].shape[1], *size)
    return FeatureMap(node.outputs[0], node.layer.name, grid)


def _below_last_block(maps: list[tuple[GraphNode, bool]], size: tuple[int, int]) -> list[tuple[GraphNode, bool]]:
    """Return the tokens below the last block, or layer of attention, of a transformer."""
    tokens = [pair for pair in maps if _is_tokens(pair[0], size)]
    layers = [node.layer for node, _ in tokens]
    # Without repeated blocks, the first layer made of layers is the embedding of the patches.
    blocks = repeated_composites(layers) or [layer for layer in layers if is_composite(layer)][1:]
    mixing = {id(layer) for layer in blocks or layers if blocks or isinstance(layer, _ATTENTION)}
    last = max((index for index, layer in enumerate(layers) if id(layer) in mixing), default=len(tokens))
    return tokens[:last] or tokens


def _map_of_layer(model: keras.Model, name: str) -> FeatureMap:
    nodes = list(all_nodes(model))
    names = [node.layer.name for node in nodes]
    if name not in names:
        hint = did_you_mean(name, names) or "See model.summary(expand_nested=True)."
        raise ValueError(f"`layer` must be the name of a layer of the model. Received: {name!r}. {hint}")
    node, size = nodes[len(names) - 1 - names[::-1].index(name)], tuple(model.input_shape[1:3])
    if not _is_map(node) and not _is_tokens(node, size):
        shapes = [tuple(tensor.shape) for tensor in node.outputs]
        raise ValueError(
            "`layer` must return a feature map (batch, height, width, channels) of more than one position, or tokens "
            f"of patches. Received: {name!r}, which returns {shapes}. {_OTHER_METHODS}"
        )
    return _feature_map(node, size)


def _nodes_above_weights(model: keras.Model, size: tuple[int, int]) -> Iterator[tuple[GraphNode, bool]]:
    """Yield the nodes with feature maps, from the first layer with a kernel on: those before it are still images."""
    has_kernel = False
    for node, is_cut in _nodes_and_cuts(model):
        has_kernel = has_kernel or any(len(weight.shape) > 1 for weight in getattr(node.layer, "weights", ()))
        if has_kernel and (_is_map(node) or _is_tokens(node, size)):
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


def _is_tokens(node: GraphNode, size: tuple[int, int]) -> bool:
    # A block may return scores after the tokens.
    shape = tuple(node.outputs[0].shape)
    if len(shape) != 3 or None in shape[1:] or not keras.backend.is_float_dtype(node.outputs[0].dtype):
        return False
    grid = find_token_grid(shape[1], *size)
    return grid is not None and grid.rows * grid.columns > 1
