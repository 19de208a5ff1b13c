"""The graph of a functional Keras model. The only module that uses Keras' internals."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

_REPLACING = threading.RLock()


@dataclasses.dataclass(frozen=True, eq=False)
class GraphNode:
    """One call of a layer or operation.

    Attributes:
        layer: the Keras layer or operation.
        inputs: Keras tensors.
        outputs: Keras tensors.
        arguments: Keras' record of all arguments of the call.
    """

    layer: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    arguments: Any

    def fill_in(self, values: Mapping[int, Any]) -> tuple[Any, dict[str, Any]]:
        """Return the arguments and keyword arguments of the call with values, by the `id` of their Keras tensor."""
        return self.arguments.fill_in(values)


def is_functional(layer: Any) -> bool:
    """Return whether `layer` is a model with an accessible graph."""
    return isinstance(layer, keras.Model) and bool(getattr(_graph(layer), "_nodes_by_depth", None))


def all_layers(layer: Any, *, inside_layers: bool = True) -> Iterator[keras.layers.Layer]:
    """Yield every layer inside a model or layer; those of a nested model or composite layer follow it.

    With `inside_layers=False`, layers inside of composite layers that are no models, such as attention, are left out.
    """
    inner = getattr(layer, "_layers", ()) if inside_layers else ()
    for part in layer.layers if isinstance(layer, keras.Model) else inner:
        yield part
        yield from all_layers(part, inside_layers=inside_layers)


def release_graphs(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Return `optimizer`, changed so that the graph of a training step is freed with the model.

    Keras sums gradients over replicas, also over a single one, by a function with a custom gradient, and TensorFlow
    keeps those with their graphs until the process ends.
    """
    sum_gradients = optimizer._all_reduce_sum_gradients

    def sum_over_replicas(gradients: Any) -> Any:
        is_alone = tf.distribute.get_strategy().num_replicas_in_sync == 1
        return gradients if is_alone else sum_gradients(gradients)

    optimizer._all_reduce_sum_gradients = sum_over_replicas
    return optimizer


def has_seed_generator(layer: Any) -> bool:
    """Return whether a layer itself, without the layers inside it, generates random numbers."""
    return bool(getattr(layer, "_seed_generators", None))


def own_statistics(layer: Any) -> list[Any]:
    """Return the variables of a layer itself that were created as not trainable, frozen or not."""
    return list(getattr(layer, "_non_trainable_variables", ()))


def takes_training(layer: Any) -> bool:
    """Return whether the call of a layer has an argument `training`."""
    return bool(getattr(layer, "_call_has_training_arg", False))


def graph_nodes(model: keras.Model) -> list[GraphNode]:
    """Return the nodes of a functional model in topological order."""
    depths = _graph(model)._nodes_by_depth
    return [
        GraphNode(node.operation, tuple(node.input_tensors), tuple(node.outputs), node.arguments)
        for depth in sorted(depths, reverse=True)
        for node in depths[depth]
        if not node.is_input
    ]


def all_nodes(model: keras.Model) -> Iterator[GraphNode]:
    """Yield the nodes of a model in topological order, those of a nested functional model in place of the model."""
    for node in graph_nodes(model) if is_functional(model) else ():
        yield from all_nodes(node.layer) if is_functional(node.layer) else (node,)


def call_observed(model: keras.Model, inputs: Any, observe: Callable[[Any, Any], None]) -> list[Any]:
    """Call a functional model in inference mode and return its outputs; no node is added to its layers.

    `observe` is called with the Keras tensor and the value of each output of a layer, also in nested models.
    """
    graph = _graph(model)
    values = {id(key): tf.cast(value, key.dtype) for key, value in zip(graph.inputs, keras.tree.flatten(inputs))}
    for node in graph_nodes(model):
        args, kwargs = node.fill_in(values)
        if is_functional(node.layer):
            outputs = call_observed(node.layer, (*args, *kwargs.values())[0], observe)
        else:
            options = {"training": False} if takes_training(node.layer) else {}
            outputs = keras.tree.flatten(node.layer(*args, **kwargs | options))
        for tensor, value in zip(node.outputs, outputs):
            values[id(tensor)] = value
            observe(tensor, value)
    return [values[id(tensor)] for tensor in graph.outputs]


def repeated_name(model: keras.Model) -> str | None:
    """Return a name that several layers inside of nested models have, with which `flatten` fails, or None."""
    layers = {id(node.layer): node.layer.name for node in all_nodes(model)}
    return next((name for name, count in collections.Counter(layers.values()).items() if count > 1), None)


def with_input_shape(model: keras.Model, shape: tuple[int, ...], name: str | None = None) -> keras.Model:
    """Return a functional model with the same layers and weights for images of `shape`, (height, width, 3).

    `name` is that of the input.
    """
    images = keras.Input(shape, dtype=model.inputs[0].dtype, name=name)
    inputs = keras.tree.map_structure(lambda _: images, _graph(model).input)
    outputs = _graph(model)._run_through_graph(inputs, operation_fn=lambda operation: operation)
    return keras.Model(images, outputs, name=model.name)


@contextlib.contextmanager
def replaced_operations(replacements: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Compute operations of Keras' TensorFlow backend by other functions inside the context.

    `replacements` has functions for names such as "numpy.roll", called as `replace(original, *args, **kwargs)`.
    """
    # Two threads must not replace a function in each other's context.
    with _REPLACING, contextlib.ExitStack() as stack:
        for path, replace in replacements.items():
            module, name = path.split(".")
            owner = getattr(keras.src.backend, module)
            stack.enter_context(mock.patch.object(owner, name, functools.partial(replace, getattr(owner, name))))
        yield


def mark_called(model: keras.Model) -> keras.Model:
    """Return `model`, which Keras then exports: it refuses models that were never called, also complete ones."""
    # A call would set this, too, but takes 30 to 300 milliseconds.
    model._called = True
    return model


def call_graph(model: keras.Model, images: Any, call: Callable[..., Any]) -> Any:
    """Return the outputs of a functional model for `images`, its input, computed by `call(layer, *args, **kwargs)`."""
    inputs = keras.tree.map_structure(lambda _: images, _graph(model).input)
    # Keras before 3.14 requires `operation_fn`.
    return _graph(model)._run_through_graph(inputs, operation_fn=lambda operation: operation, call_fn=call)


def inner_layers(layer: Any) -> list[keras.layers.Layer]:
    """Return the layers directly inside a layer that is no model."""
    return list(getattr(layer, "_layers", ()))


def own_variables(layer: Any) -> list[Any]:
    """Return the variables of a layer itself, without those of the layers inside it."""
    return [*getattr(layer, "_trainable_variables", ()), *own_statistics(layer)]


def flatten(model: keras.Model) -> keras.Model:
    """Return a model with the same layers and weights, in which no functional model is nested."""
    inputs = keras.tree.map_structure(
        lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name), _graph(model).input
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


def _graph(model: keras.Model) -> Any:
    return model._functional if isinstance(model, keras.Sequential) else model


def _rebuild(model: keras.Model, inputs: Any) -> Any:
    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.Sequential) and layer.built:
            layer = layer._functional
        if is_functional(layer):
            return _rebuild(layer, args[0])
        return layer(*args, **kwargs)

    # Keras before 3.14 requires `operation_fn`.
    return _graph(model)._run_through_graph(inputs, operation_fn=lambda operation: operation, call_fn=call)
