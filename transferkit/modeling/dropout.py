"""Dropout and noise of frozen layers: in `fit`, a frozen layer would drop features all the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from transferkit.modeling.keras_graph import all_layers, takes_training

_NOISE_LAYERS = (
    keras.layers.Dropout,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
)
_NOISE_ATTRIBUTES = ("rate", "stddev")
# Prefix of the attribute that holds an original rate while the layer is frozen with rate 0.
_ORIGINAL = "transferkit_original_"


def dropout_rates(layer: Any) -> dict[str, float]:
    """Return attribute -> value of the rates at which a layer itself drops or disturbs features in training.

    That is, of the dropout layers of Keras and of layers such as DropPath, and attributes such as `dropout`
    of attention and recurrent cells, and `drop_path_rate` of stochastic depth.
    """
    if not takes_training(layer):
        return {}
    is_noise = isinstance(layer, _NOISE_LAYERS) or "Drop" in type(layer).__name__
    known = _NOISE_ATTRIBUTES if is_noise else ()
    return {
        name: value
        for name, value in vars(layer).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        if name in known or ("drop" in name and not name.startswith(_ORIGINAL))
    }


def disable_frozen_dropout(model: keras.Model) -> None:
    """Set the dropout rates of frozen layers to 0, and those of the others to their original rates."""
    for layer in all_layers(model):
        for name, rate in dropout_rates(layer).items():
            original = getattr(layer, _ORIGINAL + name, rate)
            setattr(layer, _ORIGINAL + name, original)
            setattr(layer, name, original if layer.trainable else 0.0)


@contextlib.contextmanager
def original_dropout_rates(model: keras.Model) -> Iterator[None]:
    """Restore the original dropout rates inside the context, so that they are saved with the model."""
    rates = [(layer, name, rate) for layer in all_layers(model) for name, rate in dropout_rates(layer).items()]
    for layer, name, rate in rates:
        setattr(layer, name, getattr(layer, _ORIGINAL + name, rate))
    try:
        yield
    finally:
        for layer, name, rate in rates:
            setattr(layer, name, rate)
