"""Partitions a model at the freeze boundary: a frozen part, whose outputs are cached, and a trainable part."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from transferkit.modeling.keras_graph import GraphNode, estimate_macs, flatten, graph_nodes, is_functional

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
    """

    frozen: keras.Model | None
    trainable: keras.Model
    augmentation: Any
    layers: tuple[str, ...]

    @property
    def feature_shapes(self) -> list[tuple[int | None, ...]]:
        """Shapes of the tensors at the boundary, without the batch axis."""
        return [tuple(tensor.shape[1:]) for tensor in self.frozen.outputs] if self.frozen is not None else []


def partition_model(model: keras.Model) -> ModelPartition:
    """Partition `model` after the largest part, from the input up, that is constant while the model is trained.

    A layer is constant when none of its variables is trained or random and all of its inputs are constant. Trainable
    batch normalization is not constant: it uses the statistics of the batch. A first layer with a method `augment` is
    the augmentation. The partition is valid until `trainable` changes.
    """
    if not is_functional(model) or len(model.inputs) != 1:
        return ModelPartition(None, model, None, ())
    nodes = graph_nodes(model)
    if any(is_functional(node.layer) and not _is_constant(node.layer) for node in nodes):
        # Only a partly constant nested model is flattened: that takes time.
        model = flatten(model)
        nodes = graph_nodes(model)
    root, augmentation = _find_root(model, nodes)
    constant = _constant_nodes(nodes, root)
    if not any(getattr(node.layer, "weights", None) for node in constant):
        return ModelPartition(None, model, augmentation, ())
    constant, boundary = _choose_boundary(constant, nodes, model.outputs, root)
    frozen = keras.Model(root, boundary, name=f"{model.name}_frozen")
    inputs = boundary[0] if len(boundary) == 1 else boundary
    trainable = keras.Model(inputs, model.output, name=f"{model.name}_trainable")
    return ModelPartition(frozen, trainable, augmentation, tuple(node.layer.name for node in constant))


def _find_root(model: keras.Model, nodes: list[GraphNode]) -> tuple[Any, Any]:
    """Return the tensor at which the frozen part starts, and the augmentation layer in front of it."""
    image = model.inputs[0]
    for node in nodes:
        if hasattr(node.layer, "augment") and node.inputs == (image,):
            return node.outputs[0], node.layer
    return image, None


def _constant_nodes(nodes: list[GraphNode], root: Any) -> list[GraphNode]:
    known = {id(root)}
    constant = []
    for node in nodes:
        if all(id(tensor) in known for tensor in node.inputs) and _is_constant(node.layer):
            known.update(id(tensor) for tensor in node.outputs)
            constant.append(node)
    return constant


def _is_constant(layer: Any) -> bool:
    if isinstance(layer, keras.layers.Dropout) and layer.rate == 0:
        return True
    if isinstance(layer, keras.layers.BatchNormalization):
        return not layer.trainable
    inner = getattr(layer, "layers", None)
    if isinstance(layer, keras.Model) and inner:
        return not layer.trainable_variables and all(_is_constant(part) for part in inner)
    is_random = any(variable.name == "seed_generator_state" for variable in getattr(layer, "variables", ()))
    return not is_random and not getattr(layer, "trainable_variables", None)


def _choose_boundary(
    constant: list[GraphNode], nodes: list[GraphNode], outputs: Sequence[Any], root: Any
) -> tuple[list[GraphNode], list[Any]]:
    """Return the nodes below the narrowest boundary with little repeated work, and the tensors that cross it."""
    work = np.cumsum([estimate_macs(node) for node in constant])
    allowed = work[-1] * (1 - _MAX_RECOMPUTED_FRACTION)
    candidates = []
    for count in range(1, len(constant) + 1):
        if work[count - 1] >= allowed:
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
