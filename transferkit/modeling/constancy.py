"""Which calls of frozen layers return the same features in every epoch, so that they can be cached."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from transferkit.modeling.dropout import dropout_rates
from transferkit.modeling.keras_graph import (
    GraphNode,
    all_layers,
    graph_nodes,
    has_seed_generator,
    is_functional,
)

TRAINED = "it is trained"
# Layers of Keras whose behavior in training does not follow from their attributes.
_PROBED = (keras.layers.Lambda, keras.layers.SpectralNormalization)
_PROBE_SIDE, _PROBE_BATCH = 8, 2


def why_not_constant(node: GraphNode) -> str | None:
    """Return why a call may return other features, or add to the loss, while the model is trained; None if it cannot.

    The layers inside a layer are examined too. A layer of a class that is not part of Keras is called on random inputs:
    the call is constant if it returns the same in training as in inference, and changes no variable.
    """
    if is_functional(node.layer):
        return why_no_nodes_constant(graph_nodes(node.layer))
    layers = [node.layer, *all_layers(node.layer)]
    for layer in layers:
        if reason := _reason_of_layer(layer):
            return reason
    return _probe(node) if any(map(_must_be_probed, layers)) else None


def why_no_nodes_constant(nodes: Iterable[GraphNode]) -> str | None:
    """Return the first reason of several calls, or None where all are constant."""
    return next((reason for node in nodes if (reason := why_not_constant(node))), None)


def _reason_of_layer(layer: Any) -> str | None:
    # Of a composite layer, the own variables and those inside it.
    if getattr(layer, "trainable_variables", None):
        return TRAINED
    if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
        return "it normalizes by the statistics of each batch"
    if getattr(layer, "activity_regularizer", None) is not None:
        return "its activity regularizer adds to the loss"
    rates = dropout_rates(layer)
    if any(rates.values()) or (has_seed_generator(layer) and not rates):
        return "it is random in training"
    return None


def _must_be_probed(layer: Any) -> bool:
    return isinstance(layer, _PROBED) or (
        isinstance(layer, keras.layers.Layer) and not type(layer).__module__.startswith("keras.")
    )


def _probe(node: GraphNode) -> str | None:
    random = np.random.default_rng(0)
    values = {id(tensor): _random_input(tensor, random) for tensor in node.inputs}
    try:
        args, kwargs = node.fill_in(values)
        training = _call(node.layer, args, {**kwargs, "training": True})
        inference = _call(node.layer, args, {**kwargs, "training": False})
    except Exception as error:  # the layer is code of the user
        return f"its outputs could not be compared in training and inference ({type(error).__name__})"
    if training[2] or inference[2]:
        return "it adds to the loss"
    if not _are_equal(training[1], inference[1]) or not _are_equal(training[0], inference[0]):
        return "it returns something else in training than in inference, or changes its variables"
    return None


def _call(layer: Any, args: Any, kwargs: Any) -> tuple[list[np.ndarray], list[np.ndarray], int]:
    """Return outputs, new values of the variables and the number of losses of a call, which changes nothing."""
    with keras.StatelessScope(collect_losses=True) as scope:
        outputs = [np.asarray(output) for output in keras.tree.flatten(layer(*args, **kwargs))]
    changed = [scope.get_current_value(variable) for variable in layer.variables]
    # A variable that was not assigned has no value in the scope.
    return outputs, [np.zeros(()) if value is None else np.asarray(value) for value in changed], len(scope.losses)


def _random_input(tensor: Any, random: np.random.Generator) -> Any:
    shape = (_PROBE_BATCH, *(side or _PROBE_SIDE for side in tensor.shape[1:]))
    is_float = keras.backend.is_float_dtype(tensor.dtype)
    values = random.normal(size=shape) if is_float else np.zeros(shape)
    return keras.ops.convert_to_tensor(values, dtype=tensor.dtype)


def _are_equal(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return len(first) == len(second) and all(
        one.shape == two.shape and np.allclose(one.astype("float64"), two.astype("float64"), rtol=1e-4, atol=1e-5)
        for one, two in zip(first, second)
    )
