"""Which layers compute in reduced precision where one is asked for, and letting them do so for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from transferkit.modeling.keras_graph import all_layers

# On a processor these gain by bfloat16. Depthwise convolutions, normalisation and activations were measured to lose
# by it, so much that a network full of them is slower in Keras' mixed precision than in float32.
_MATMUL_LAYERS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Dense,
    keras.layers.EinsumDense,
)


def has_gpu() -> bool:
    """Return whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def mixed_precision_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of `model` that compute in reduced precision where one is asked for.

    They lie from the first layer with weights up to the last, which gives the logits and stays float32; so do the
    augmentation and the preprocessing in front, as reduced precision would round the pixels. On a GPU it is all
    layers between, on a processor the convolutions and dense layers. A layer that was made with another policy than
    float32 keeps it.
    """
    leaves = [layer for layer in all_layers(model) if not getattr(layer, "layers", None)]
    places = [place for place, layer in enumerate(leaves) if _has_weights(layer)]
    between = leaves[places[0] : places[-1]] if places else []
    if not has_gpu():
        between = [layer for layer in between if _is_product(layer)]
    return [layer for layer in between if layer.dtype_policy.name == "float32"]


@contextlib.contextmanager
def precision_scope(precision: str, layers: list[keras.layers.Layer]) -> Iterator[None]:
    """Let `layers`, which are float32, compute in `precision`; their variables stay float32."""
    try:
        for layer in layers:
            layer.dtype_policy = "float32" if precision == "float32" else f"mixed_{precision}"
        yield
    finally:
        for layer in layers:
            layer.dtype_policy = "float32"


def _has_weights(layer: Any) -> bool:
    return bool(layer.weights) and not isinstance(layer, keras.layers.Normalization)


def _is_product(layer: Any) -> bool:
    return isinstance(layer, _MATMUL_LAYERS) and getattr(layer, "groups", 1) == 1
