"""Checks before training that a model can be saved and loaded."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Collection, Iterator
from typing import Any

import keras

from transferkit._utils.text import printable
from transferkit.modeling.keras_graph import GraphNode, all_layers, all_nodes

# Layers of these packages are restored from equal kinds of configurations in one way.
_TRUSTED = ("keras", "keras_hub", "keras_nlp", "keras_cv")
_KNOWN = (*_TRUSTED, "transferkit")
_PLAIN = frozenset({str, int, float, bool, tuple, list, dict, type(None)})
_GRAPHS = ("Functional", "Sequential", "Model")
_MAX_REASON = 300


def check_serializable(model: keras.Model) -> None:
    """Raise a ValueError when `model` could not be loaded after it is saved.

    Its configuration is serialized and each layer restored from it, as `tk.load` does: in safe mode. Only for layers
    whose class is the user's are weights created. A model without code of the user is known to be serializable.
    """
    if not any(map(_has_code_of_user, [model, *all_layers(model)])):
        return
    try:
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    except Exception as error:  # get_config is code of the user
        raise _not_serializable(model, _unserializable_layer(model), error) from error
    done = set()
    for part in _parts(config):
        kind = _kind(part)
        if kind not in done:
            try:
                keras.saving.deserialize_keras_object(part, safe_mode=True)
            except Exception as error:  # so is from_config
                raise _not_serializable(model, _description(part), error) from error
            done.add(kind)
    for node in all_nodes(model):
        _check_weights_are_restored(model, node)


def _check_weights_are_restored(model: keras.Model, node: GraphNode) -> None:
    """Raise a ValueError when the weights of a layer of the user would not exist when they are loaded."""
    layer = node.layer
    if not getattr(layer, "weights", None) or type(layer).__module__.split(".")[0] in _KNOWN:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer), safe_mode=True)
            restored(*node.arguments.args, **node.arguments.kwargs)
    except Exception as error:  # build and call are code of the user
        raise _not_serializable(model, _describe_layer(layer), error) from error
    if [weight.shape for weight in restored.weights] != [weight.shape for weight in layer.weights]:
        raise ValueError(
            f"Every part of {model.name!r} must be serializable: the trained model could be saved, but not loaded. "
            f"Received: {printable(_describe_layer(layer))}, which has {len(restored.weights)} of its "
            f"{len(layer.weights)} weights when it is built from its configuration. Create them, and build the layers "
            "inside, in its method build()."
        )


def _describe_layer(layer: keras.layers.Layer) -> str:
    return f"{layer.name!r} ({type(layer).__name__})"


def _has_code_of_user(layer: keras.layers.Layer) -> bool:
    """Return whether a layer, or a function or object that it holds, comes from another package."""
    values = (value for value in vars(layer).values() if type(value) not in _PLAIN)
    parts = [layer, *(value for value in values if inspect.isfunction(value) or hasattr(value, "get_config"))]
    modules = [part.__module__ if inspect.isfunction(part) else type(part).__module__ for part in parts]
    return isinstance(layer, keras.layers.Lambda) or any(name.split(".")[0] not in _KNOWN for name in modules)


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    """Yield the serialized layers, operations and functions of a model, without what builds their weights."""
    if _is_object(config) and not _is_model_of_package(config):
        yield _without_build(config)
    else:
        for value in _values(config):
            yield from _parts(value)


def _is_object(config: Any) -> bool:
    # Tensors and slices have names such as "__tensor__".
    name = config.get("class_name") if isinstance(config, dict) else None
    return isinstance(name, str) and (not name.startswith("__") or name == "__lambda__")


def _is_model_of_package(config: dict[str, Any]) -> bool:
    # Restoring a model creates its weights, so its layers are restored one by one.
    found = keras.saving.get_registered_object(config.get("registered_name"))
    is_model = isinstance(found, type) and issubclass(found, keras.Model)
    return _is_trusted(config) and (is_model or config["class_name"] in _GRAPHS)


def _values(config: Any) -> Collection[Any]:
    return config.values() if isinstance(config, dict) else config if isinstance(config, list) else ()


def _without_build(config: Any, *, is_inner: bool = False) -> Any:
    if isinstance(config, dict):
        # A model of the user is restored from its graph, for which the connections of its layers are needed.
        removed = ["build_config", "compile_config", *([] if is_inner else ["inbound_nodes"])]
        return {key: _without_build(value, is_inner=True) for key, value in config.items() if key not in removed}
    return [_without_build(value, is_inner=True) for value in config] if isinstance(config, list) else config


def _kind(part: Any) -> str:
    """Return a text that is equal for parts of which only one must be restored."""
    if not _is_object(part):
        return "".join(sorted({_kind(value) for value in _values(part)}))
    if not _is_trusted(part):
        return json.dumps(part, sort_keys=True)
    return f"{part['module']}.{part['class_name']}({_kind(part.get('config'))})"


def _is_trusted(part: dict[str, Any]) -> bool:
    return str(part.get("module")).split(".")[0] in _TRUSTED


def _unserializable_layer(model: keras.Model) -> str:
    for layer in all_layers(model):
        if not getattr(layer, "layers", None):
            try:
                json.dumps(keras.saving.serialize_keras_object(layer))
            except Exception:
                return _describe_layer(layer)
    return type(model).__name__


def _description(part: dict[str, Any]) -> str:
    config = part.get("config")
    name = config.get("name") if isinstance(config, dict) else config
    return part["class_name"] if name is None else f"{name!r} ({part['class_name']})"


def _not_serializable(model: keras.Model, part: str, error: Exception) -> ValueError:
    # The messages of Keras continue with the complete configuration.
    reason = str(error).rpartition("Exception encountered: ")[2].strip().partition("\n")[0].partition(". ")[0]
    return ValueError(
        f"Every part of {model.name!r} must be serializable: the trained model could be saved, but not loaded. "
        f"Received: {printable(part)}: {printable(reason.rstrip('.:'))[:_MAX_REASON]}. Decorate classes and functions "
        "with keras.saving.register_keras_serializable, return all arguments in get_config, and replace a Lambda by a "
        "layer."
    )
