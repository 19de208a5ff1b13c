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
_IRRELEVANT_IN_TRAINING = ("name", "batch_shape", "build_config")
_CONTAINERS = (dict, list, tuple)


def model_fingerprint(model: keras.Model) -> str:
    """Return 64 hexadecimal digits that differ whenever the outputs of a built model could."""
    return _Fingerprint(_IRRELEVANT, with_trained=True).of(model)


def training_fingerprint(model: keras.Model) -> str:
    """Return 64 hexadecimal digits that differ whenever training a built model could give other weights.

    The values of trained weights are left out: without a seed, they are others in each process.
    """
    return _Fingerprint(_IRRELEVANT_IN_TRAINING, with_trained=False).of(model)


class _Fingerprint:
    def __init__(self, irrelevant: tuple[str, ...], *, with_trained: bool) -> None:
        self._irrelevant, self._with_trained = irrelevant, with_trained
        self._digest: Any = hashlib.blake2b(digest_size=32)

    def of(self, model: keras.Model) -> str:
        self._add_model(model)
        return self._digest.hexdigest()

    def _add_model(self, model: Any) -> None:
        if not is_functional(model):
            self._add_layer(model)
            return
        tensors = {id(tensor): index for index, tensor in enumerate(model.inputs)}
        for tensor in model.inputs:
            self._add([tensor.shape, str(tensor.dtype)])
        for node in graph_nodes(model):
            self._add([tensors.get(id(tensor), -1) for tensor in node.inputs])
            for tensor in node.outputs:
                tensors[id(tensor)] = len(tensors)
            if is_functional(node.layer):
                self._add_model(node.layer)
            else:
                self._add_layer(node.layer)
        self._add([tensors.get(id(tensor), -1) for tensor in model.outputs])

    def _add_layer(self, layer: Any) -> None:
        kind = type(layer)
        self._add([kind.__module__, kind.__qualname__, self._relevant(_config(layer))])
        if not kind.__module__.startswith("keras."):
            # A custom class may compute something else tomorrow under the same name.
            self._add(_source(kind))
        for variable in getattr(layer, "weights", ()):
            self._add_variable(variable)

    def _add_variable(self, variable: Any) -> None:
        # The variable's own tensor: `numpy()` would copy it twice.
        value = np.ascontiguousarray(variable.value.value())
        self._add([value.shape, str(value.dtype)])
        if self._with_trained or not variable.trainable:
            self._digest.update(value.view(np.uint8).reshape(-1))

    def _relevant(self, value: Any) -> Any:
        # Most values are plain: a call for each would take longer than all other work.
        if isinstance(value, dict):
            return {
                key: self._relevant(inner) if isinstance(inner, _CONTAINERS) else inner
                for key, inner in value.items()
                if key not in self._irrelevant
            }
        if isinstance(value, (list, tuple)):
            return [self._relevant(inner) if isinstance(inner, _CONTAINERS) else inner for inner in value]
        return value

    def _add(self, value: Any) -> None:
        self._digest.update(json.dumps(value, sort_keys=True, default=str).encode())


def _config(layer: Any) -> Any:
    """Return the configuration of a layer, or its plain attributes where it has none."""
    try:
        return layer.get_config()
    except Exception:  # code of the user or of KerasHub, whose Swin transformer has layers that raise a TypeError
        plain = (str, int, float, bool, *_CONTAINERS)
        return {
            name: value
            for name, value in vars(layer).items()
            if isinstance(value, plain) and not name.startswith(("_", "transferkit_"))
        }


def _source(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""
