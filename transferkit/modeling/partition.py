"""Cutting a model in two: the part that gives the same for an image in every epoch, and the part that changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from transferkit.modeling.keras_graph import GraphNode, estimate_macs, flatten, graph_nodes, is_functional

# A cut may go below the freeze boundary, to where the activations are narrow, as long as no more than this part of the
# constant work has to be done again in every epoch.
_MAX_RECOMPUTED_FRACTION = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class ModelPartition:
    """A model in two parts that share its layers.

    Attributes:
        lower: keras.Model from images, after the augmentation, to all tensors that cross the cut; None when nothing
            is constant.
        upper: keras.Model from those tensors to the model's output.
        augmentation: the layer of random variations in front, taken off; or None.
        layers: names of the layers in the lower part.
    """

    lower: keras.Model | None
    upper: keras.Model
    augmentation: Any
    layers: tuple[str, ...]


def partition_model(model: keras.Model) -> ModelPartition:
    """Find the largest part of `model`, from the input up, that is constant while the model is trained.

    A layer is constant when nothing in it is trained or random and all that goes into it is constant. Batch
    normalisation is not, while it is trainable: then it works with the statistics of the batch.

    Args:
        model: a functional keras.Model with one image input; a layer with a method `draw` at its front counts as
            augmentation.

    Returns:
        A `Cut`; its parts belong to the model as it is now, so ask again after a change of `trainable`.
    """
    if not is_functional(model) or len(model.inputs) != 1:
        return ModelPartition(None, model, None, ())
    steps = graph_nodes(model)
    if any(is_functional(step.layer) and not _is_constant(step.layer) for step in steps):
        # Only a nested model that is constant in parts is looked into: it takes time to take it apart.
        model = flatten(model)
        steps = graph_nodes(model)
    root, augmentation = _root(model, steps)
    constant = _constant_steps(steps, root)
    if not any(getattr(step.layer, "weights", None) for step in constant):
        return ModelPartition(None, model, augmentation, ())
    constant = constant[: _narrowest(constant, steps, model.outputs, root)]
    crossing = _crossing(constant, steps, model.outputs, root)
    lower = keras.Model(root, crossing, name=f"{model.name}_lower")
    upper = keras.Model(crossing, model.output, name=f"{model.name}_upper")
    return ModelPartition(lower, upper, augmentation, tuple(step.layer.name for step in constant))


def _root(model: keras.Model, steps: list[GraphNode]) -> tuple[Any, Any]:
    """Return the tensor that the lower part starts from, and the augmentation in front of it."""
    image = model.inputs[0]
    for step in steps:
        if hasattr(step.layer, "draw") and step.inputs == (image,):
            return step.outputs[0], step.layer
    return image, None


def _constant_steps(steps: list[GraphNode], root: Any) -> list[GraphNode]:
    known = {id(root)}
    constant = []
    for step in steps:
        if all(id(tensor) in known for tensor in step.inputs) and _is_constant(step.layer):
            known.update(id(tensor) for tensor in step.outputs)
            constant.append(step)
    return constant


def _is_constant(layer: Any) -> bool:
    if isinstance(layer, keras.layers.Dropout) and layer.rate == 0:
        return True
    if isinstance(layer, keras.layers.BatchNormalization):
        return not layer.trainable
    inner = getattr(layer, "layers", None)
    if isinstance(layer, keras.Model) and inner:
        return not layer.trainable_variables and all(_is_constant(part) for part in inner)
    return not _is_random(layer) and not getattr(layer, "trainable_variables", None)


def _is_random(layer: Any) -> bool:
    return any(variable.name == "seed_generator_state" for variable in getattr(layer, "variables", ()))


def _narrowest(constant: list[GraphNode], steps: list[GraphNode], outputs: list[Any], root: Any) -> int:
    """Return how many of the constant steps to keep: the fewest numbers cross, at little work to be repeated."""
    work = np.cumsum([estimate_macs(step) for step in constant])
    allowed = work[-1] * (1 - _MAX_RECOMPUTED_FRACTION)
    counts = [count for count in range(1, len(constant) + 1) if work[count - 1] >= allowed]
    # Among cuts of the same width the highest leaves the least to do.
    return min(counts, key=lambda count: (_width(_crossing(constant[:count], steps, outputs, root)), -count))


def _crossing(lower: list[GraphNode], steps: list[GraphNode], outputs: list[Any], root: Any) -> list[Any]:
    """Return the tensors that the lower part makes and the rest, or the output, takes."""
    inside = {id(step) for step in lower}
    made = {id(root): root, **{id(tensor): tensor for step in lower for tensor in step.outputs}}
    taken: Iterable[Any] = (tensor for step in steps if id(step) not in inside for tensor in step.inputs)
    wanted = {id(tensor): tensor for tensor in [*taken, *outputs] if id(tensor) in made}
    return list(wanted.values())


def _width(tensors: list[Any]) -> int:
    return sum(int(np.prod([side or 1 for side in tensor.shape[1:]])) for tensor in tensors)
