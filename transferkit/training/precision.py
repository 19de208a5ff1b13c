"""Computing in reduced precision while training, and only inside the steps of `fit`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras

from transferkit._utils.checks import check_choice
from transferkit.modeling.precision import has_gpu, mixed_precision_layers, precision_scope

PRECISIONS = ("float32", "bfloat16", "float16")


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


@contextlib.contextmanager
def mixed_precision_training(model: keras.Model, precision: str) -> Iterator[None]:
    """Let `fit` of `model` compute in `precision`; compile the model, if at all, inside.

    The layers have the reduced policy only while a step runs or is traced. So callbacks, files saved by them and
    whoever gets the model afterwards, however training ends, see a float32 model.
    """
    layers = [] if precision == "float32" else mixed_precision_layers(model)
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
        with precision_scope(precision, layers):
            return step(data)

    return reduced


def _forget_functions(model: keras.Model) -> None:
    # What was traced in one precision would go on in it.
    model.train_function = model.test_function = None
