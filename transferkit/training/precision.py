"""Computing in reduced precision while training: which layers do, and only inside the steps of `fit`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from transferkit._checks import check_choice
from transferkit.backbones.freezing import all_layers

__all__ = ["PRECISIONS", "check_precision", "computing_in", "has_gpu", "reduced_layers", "scaled", "trained_in"]

PRECISIONS = ("float32", "bfloat16", "float16")
# On a processor these gain by bfloat16. Depthwise convolutions, normalisation and activations were measured to lose
# by it, so much that a network full of them is slower in Keras' mixed precision than in float32.
_PRODUCTS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Dense,
    keras.layers.EinsumDense,
)


def has_gpu() -> bool:
    """Return whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def check_precision(precision: str) -> str:
    """Return `precision` if this machine can train in it.

    Raises:
        ValueError: when there is no such precision, or it needs a GPU and there is none.
    """
    check_choice("precision", precision, PRECISIONS)
    if precision == "float16" and not has_gpu():
        raise ValueError(
            "`precision` must be 'float32' or 'bfloat16' on a machine without a GPU. Received: 'float16'. "
            "Choose 'bfloat16', or train on a GPU."
        )
    return precision


def scaled(optimizer: keras.optimizers.Optimizer, precision: str) -> keras.optimizers.Optimizer:
    """Return the optimizer that trains in `precision`: small gradients vanish in float16 unless the loss is scaled."""
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "float16" else optimizer


def reduced_layers(model: keras.Model) -> list[keras.layers.Layer]:
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
def computing_in(precision: str, layers: list[keras.layers.Layer]) -> Iterator[None]:
    """Let `layers`, which are float32, compute in `precision`; their variables stay float32."""
    try:
        for layer in layers:
            layer.dtype_policy = "float32" if precision == "float32" else f"mixed_{precision}"
        yield
    finally:
        for layer in layers:
            layer.dtype_policy = "float32"


@contextlib.contextmanager
def trained_in(model: keras.Model, precision: str) -> Iterator[None]:
    """Let `fit` of `model` compute in `precision`; compile the model, if at all, inside.

    The layers have the reduced policy only while a step runs or is traced. So callbacks, files saved by them and
    whoever gets the model afterwards, however training ends, see a float32 model.
    """
    layers = [] if precision == "float32" else reduced_layers(model)
    if not layers:
        yield
        return
    try:
        _forget_functions(model)
        for name in ("train_step", "test_step"):
            # Keras' own way of setting an attribute would track it as part of the model.
            object.__setattr__(model, name, _within(getattr(model, name), precision, layers))
        yield
    finally:
        for name in ("train_step", "test_step"):
            model.__dict__.pop(name, None)
        _forget_functions(model)


def _within(step: Callable[[Any], Any], precision: str, layers: list[keras.layers.Layer]) -> Callable[[Any], Any]:
    @functools.wraps(step)
    def reduced(data: Any) -> Any:
        with computing_in(precision, layers):
            return step(data)

    return reduced


def _forget_functions(model: keras.Model) -> None:
    # What was traced in one precision would go on in it.
    model.train_function = model.test_function = None


def _has_weights(layer: Any) -> bool:
    return bool(layer.weights) and not isinstance(layer, keras.layers.Normalization)


def _is_product(layer: Any) -> bool:
    return isinstance(layer, _PRODUCTS) and getattr(layer, "groups", 1) == 1
