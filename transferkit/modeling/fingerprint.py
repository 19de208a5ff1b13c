"""Fingerprints of models: structure and weights, equal in every process."""

from __future__ import annotations

import hashlib
import inspect
import json
from typing import Any

import keras
import numpy as np

from transferkit.modeling.keras_graph import graph_nodes, is_functional

# Keras numbers the layers of a process in their names; these entries do not change what is computed.
_IRRELEVANT = ("name", "trainable", "seed", "batch_shape", "build_config")


def model_fingerprint(model: keras.Model) -> str:
    """Return 64 hexadecimal digits that differ whenever the outputs of a built model could."""
    digest = hashlib.blake2b(digest_size=32)
    _add_model(digest, model)
    return digest.hexdigest()


def _add_model(digest: Any, model: Any) -> None:
    if not is_functional(model):
        _add_layer(digest, model)
        return
    tensors = {id(tensor): index for index, tensor in enumerate(model.inputs)}
    for tensor in model.inputs:
        _add(digest, [tensor.shape, str(tensor.dtype)])
    for node in graph_nodes(model):
        _add(digest, [tensors.get(id(tensor), -1) for tensor in node.inputs])
        for tensor in node.outputs:
            tensors[id(tensor)] = len(tensors)
        if is_functional(node.layer):
            _add_model(digest, node.layer)
        else:
            _add_layer(digest, node.layer)
    _add(digest, [tensors.get(id(tensor), -1) for tensor in model.outputs])


def _add_layer(digest: Any, layer: Any) -> None:
    kind = type(layer)
    try:
        config = _without_names(layer.get_config())
    except NotImplementedError:
        config = None
    _add(digest, [kind.__module__, kind.__qualname__, config])
    if not kind.__module__.startswith("keras."):
        # A custom class may compute something else tomorrow under the same name.
        _add(digest, _source(kind))
    for variable in getattr(layer, "weights", ()):
        # The variable's own tensor: `numpy()` would copy it twice.
        value = np.ascontiguousarray(variable.value.value())
        _add(digest, [value.shape, str(value.dtype)])
        digest.update(value.view(np.uint8).reshape(-1))


def _without_names(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_names(inner) for key, inner in value.items() if key not in _IRRELEVANT}
    if isinstance(value, (list, tuple)):
        return [_without_names(inner) for inner in value]
    return value


def _source(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


def _add(digest: Any, value: Any) -> None:
    digest.update(json.dumps(value, sort_keys=True, default=str).encode())
