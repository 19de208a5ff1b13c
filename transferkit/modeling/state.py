"""The variables of a model that training changes, and a checksum of those that it must not change."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from transferkit.modeling.keras_graph import all_layers, own_statistics

_SEED_STATE = "seed_generator_state"


def to_numpy(variable: Any) -> np.ndarray:
    """Return a copy of the value of a variable."""
    return np.array(variable.value.value())


class Snapshot:
    """The values of variables, to which `restore` sets them back."""

    def __init__(self, variables: Iterable[Any]) -> None:
        self._values = [(variable, to_numpy(variable)) for variable in variables]

    def restore(self) -> None:
        """Set the variables to the values."""
        for variable, value in self._values:
            variable.assign(value)


def changing_variables(model: keras.Model) -> list[Any]:
    """Return trained variables, and those that training changes without gradients, as statistics of batches.

    States of random numbers are left out: they follow from seed and epoch.
    """
    return [*model.trainable_variables, *changing_statistics(model)]


def changing_statistics(model: keras.Model) -> list[Any]:
    """Return the variables that training changes without gradients, such as statistics of batch normalization."""
    layers = (layer for layer in all_layers(model) if layer.trainable or not _is_batch_norm(layer))
    found = {id(variable): variable for layer in layers for variable in own_statistics(layer)}
    return [variable for variable in found.values() if variable.name != _SEED_STATE]


def frozen_checksum(model: keras.Model) -> int:
    """Return a number that differs, but for coincidence, when a frozen weight or statistic of `model` changed.

    A checksum takes a fraction of the time of a cryptographic hash, which only forged weights would need.
    """
    changing = {id(variable) for variable in changing_variables(model)}
    checksum = 0
    for variable in model.variables:
        if id(variable) not in changing and variable.name != _SEED_STATE:
            # As bytes, because arrays of bfloat16 have no buffer.
            checksum = zlib.crc32(np.ascontiguousarray(variable.value.value()).view(np.uint8).data, checksum)
    return checksum


def _is_batch_norm(layer: Any) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)
