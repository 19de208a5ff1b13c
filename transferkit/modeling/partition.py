"""Partitions a model at the freeze boundary: a frozen part, whose outputs are cached, and a trainable part."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from transferkit.modeling.constancy import TRAINED, why_not_constant
from transferkit.modeling.keras_graph import (
    GraphNode,
    estimate_macs,
    flatten,
    graph_nodes,
    is_functional,
    repeated_name,
)

# The boundary may move below the first trainable layer, to where activations are narrow, as long as at most this
# fraction of the frozen work is repeated in every epoch.
_MAX_RECOMPUTED_FRACTION = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class ModelPartition:
    """A model in two parts that share its layers.

    Attributes:
        frozen: from augmented images to the tensors at the boundary; None when nothing is frozen.
        trainable: from those tensors to the model's output.
        augmentation: the augmentation layer in front of both, or None.
        layers: names of the layers in the frozen part.
        limit: why a frozen layer is not in the frozen part, such as "'penalty' ... adds to the loss"; None where only
            trained layers are above it.
    """

    frozen: keras.Model | None
    trainable: keras.Model
    augmentation: Any
    layers: tuple[str, ...]
    limit: str | None = None

    @property
    def feature_shapes(self) -> list[tuple[int | None, ...]]:
        """Shapes of the tensors at the boundary, without the batch axis."""
        return [tuple(tensor.shape[1:]) for tensor in self.frozen.outputs] if self.frozen is not None else []


def partition_model(model: keras.Model) -> ModelPartition:
    """Partition `model` after the largest part, from the input up, that is constant while the model is trained.

    A call is constant when all of its inputs are, and its layer has no trained variables, random numbers or statistics
    of batches, and adds nothing to the loss. A first layer with a method `augment` is the augmentation. The partition
    is valid until `trainable` changes.
    """
    if not is_functional(model) or len(model.inputs) != 1:
        return ModelPartition(None, model, None, (), f"{model.name!r} has no graph from one input to its output")
    nodes = graph_nodes(model)
    reasons = [why_not_constant(node) for node in nodes]
    repeated = None
    # Only a partly constant nested model is flattened: that takes time.
    needs_flattening = any(reason and is_functional(node.layer) for node, reason in zip(nodes, reasons))
    if needs_flattening and (repeated := repeated_name(model)) is None:
        model = flatten(model)
        nodes = graph_nodes(model)
        reasons = [why_not_constant(node) for node in nodes]
    root, augmentation = find_root(model, nodes)
    constant, limit = _constant_nodes(nodes, reasons, root)
    if repeated is not None:
        limit = f"several layers of its nested models have the name {repeated!r}"
    if len(constant) == len(nodes):
        # Where all is frozen, the last call is left for the other part, which cannot be empty.
        constant = constant[:-1]
    if not any(getattr(node.layer, "weights", None) for node in constant):
        return ModelPartition(None, model, augmentation, (), limit)
    constant, boundary = _choose_boundary(constant, nodes, model.outputs, root)
    frozen = keras.Model(root, boundary, name=f"{model.name}_frozen")
    inputs = boundary[0] if len(boundary) == 1 else boundary
    trainable = keras.Model(inputs, model.outputs[0], name=f"{model.name}_trainable")
    return ModelPartition(frozen, trainable, augmentation, tuple(node.layer.name for node in constant), limit)


def find_root(model: keras.Model, nodes: list[GraphNode]) -> tuple[Any, Any]:
    """Return the tensor at which the frozen part starts, and the augmentation layer in front of it."""
    image = model.inputs[0]
    for node in nodes:
        if hasattr(node.layer, "augment") and node.inputs == (image,):
            return node.outputs[0], node.layer
    return image, None


def _constant_nodes(nodes: list[GraphNode], reasons: list[str | None], root: Any) -> tuple[list[GraphNode], str | None]:
    """Return the constant calls, and why the first frozen call on constant inputs is not one of them."""
    known = {id(root)}
    constant = []
    limit = None
    for node, reason in zip(nodes, reasons):
        if not all(id(tensor) in known for tensor in node.inputs):
            continue
        if reason is None:
            known.update(id(tensor) for tensor in node.outputs)
            constant.append(node)
        elif reason != TRAINED and not getattr(node.layer, "trainable", False):
            limit = limit or f"{node.layer.name!r} cannot be cached: {reason}"
    shared = _layers_on_both_sides(constant, nodes)
    if shared:
        # Keras cannot cut a model between two calls of one layer.
        why = "it is called more than once, also above a trained layer"
        reasons = [why if id(node.layer) in shared else reason for node, reason in zip(nodes, reasons)]
        return _constant_nodes(nodes, reasons, root)
    return constant, limit


def _layers_on_both_sides(frozen: list[GraphNode], nodes: list[GraphNode]) -> set[int]:
    inside = {id(node) for node in frozen}
    return {id(node.layer) for node in frozen} & {id(node.layer) for node in nodes if id(node) not in inside}


def _choose_boundary(
    constant: list[GraphNode], nodes: list[GraphNode], outputs: Sequence[Any], root: Any
) -> tuple[list[GraphNode], list[Any]]:
    """Return the nodes below the narrowest boundary with little repeated work, and the tensors that cross it."""
    work = np.cumsum([estimate_macs(node) for node in constant])
    allowed = work[-1] * (1 - _MAX_RECOMPUTED_FRACTION)
    candidates = []
    for count in range(1, len(constant) + 1):
        if count > 1 and isinstance(constant[count - 1].layer, keras.layers.UnitNormalization):
            # It takes no time, and the features below are those of heads without it.
            continue
        if work[count - 1] >= allowed and not _layers_on_both_sides(constant[:count], nodes):
            boundary = _boundary_tensors(constant[:count], nodes, outputs, root)
            width = sum(int(np.prod([side or 1 for side in tensor.shape[1:]])) for tensor in boundary)
            # Of boundaries with the same width the highest leaves the least work.
            candidates.append((width, -count, boundary))
    _, count, boundary = min(candidates, key=lambda candidate: candidate[:2])
    return constant[:-count], boundary


def _boundary_tensors(frozen: list[GraphNode], nodes: list[GraphNode], outputs: Sequence[Any], root: Any) -> list[Any]:
    """Return the tensors that the frozen nodes produce and the other nodes, or the output, consume."""
    inside = {id(node) for node in frozen}
    produced = {id(root), *(id(tensor) for node in frozen for tensor in node.outputs)}
    consumed = [tensor for node in nodes if id(node) not in inside for tensor in node.inputs]
    return list({id(tensor): tensor for tensor in [*consumed, *outputs] if id(tensor) in produced}.values())
