"""Reduced precision: which layers compute in it, and the scope in which they do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from transferkit._utils.checks import check_choice
from transferkit.modeling.keras_graph import all_layers

PRECISIONS = ("float32", "bfloat16", "float16")
# On a CPU these gain from bfloat16. Depthwise convolutions, normalization and activations lose so much that a network
# full of them is slower in Keras' mixed precision than in float32.
_MATMUL_LAYERS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Dense,
    keras.layers.EinsumDense,
)


def has_gpu() -> bool:
    """Return whether TensorFlow finds a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def check_precision(precision: str) -> str:
    """Return `precision` if this machine supports it.

    Raises:
        ValueError: for an unknown precision, or "float16" without a GPU.
    """
    check_choice("precision", precision, PRECISIONS)
    if precision == "float16" and not has_gpu():
        raise ValueError(
            "`precision` must be 'float32' or 'bfloat16' on a machine without a GPU. Received: 'float16'. "
            "Choose 'bfloat16', or use a GPU."
        )
    return precision


def with_loss_scaling(optimizer: keras.optimizers.Optimizer, *precisions: str) -> keras.optimizers.Optimizer:
    """Return the optimizer for these precisions: float16 needs a scaled loss, or small gradients vanish."""
    is_needed = any("float16" in name and "bfloat16" not in name for name in precisions)
    return keras.optimizers.LossScaleOptimizer(optimizer) if is_needed else optimizer


def mixed_precision_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of `model` that compute in reduced precision where it is requested.

    These are the layers from the first with weights to the one below the logits: on a GPU all of them, on a CPU the
    convolutions and dense layers. Augmentation and preprocessing would lose pixel values. Layers with another policy
    than float32 keep it.
    """
    leaves = [layer for layer in all_layers(model, inside_layers=False) if not isinstance(layer, keras.Model)]
    weighted = [index for index, layer in enumerate(leaves) if _has_weights(layer)]
    between = leaves[weighted[0] : weighted[-1]] if weighted else []
    if has_gpu():
        # A layer and the layers inside it must compute in the same precision: it may add their outputs.
        inside = [inner for layer in between for inner in all_layers(layer)]
        between = list({id(layer): layer for layer in [*between, *inside]}.values())
    else:
        between = [layer for layer in between if isinstance(layer, _MATMUL_LAYERS) and getattr(layer, "groups", 1) == 1]
    return [layer for layer in between if layer.dtype_policy.name == "float32"]


@contextlib.contextmanager
def precision_scope(precision: str, layers: list[keras.layers.Layer]) -> Iterator[None]:
    """Let `layers`, which are float32, compute in `precision` inside the scope; their variables stay float32."""
    try:
        for layer in layers:
            layer.dtype_policy = "float32" if precision == "float32" else f"mixed_{precision}"
        yield
    finally:
        for layer in layers:
            layer.dtype_policy = "float32"


@contextlib.contextmanager
def float32_scope(model: keras.Model) -> Iterator[None]:
    """Let the layers of `model` that compute in 16 bits compute in float32 inside the scope; variables are kept."""
    layers = [layer for layer in all_layers(model) if _computes_in_16_bits(layer)]
    policies = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = "float32"
        yield
    finally:
        for layer, policy in zip(layers, policies):
            layer.dtype_policy = policy


def _computes_in_16_bits(layer: Any) -> bool:
    policy: Any = getattr(layer, "dtype_policy", None)
    # Layers with quantized weights cannot compute otherwise.
    return type(policy) is keras.DTypePolicy and policy.compute_dtype in ("float16", "bfloat16")


def _has_weights(layer: Any) -> bool:
    return bool(layer.weights) and not isinstance(layer, keras.layers.Normalization)
