"""Checks and adapts a keras.Model of the user to a backbone: one RGB image in, one feature map or vector out."""

from __future__ import annotations

from typing import Any

import keras

from transferkit.modeling.image_model import channels_hint
from transferkit.modeling.keras_graph import is_functional, with_input_shape


def validated_model(model: Any, input_shape: Any) -> keras.Model:
    """Return `model` as a functional model of one input of `input_shape` and one output.

    Raises:
        TypeError: if it is not a keras.Model.
        ValueError: if its inputs, outputs or the input shape do not fit.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"A backbone must be a keras.Model. Received: {type(model).__name__}.")
    model = _with_fixed_input(model, input_shape)
    outputs = model.outputs
    if len(outputs) != 1:
        raise ValueError(
            f"A backbone must have one output. Received: {len(outputs)} outputs of the shapes "
            f"{[tuple(output.shape) for output in outputs]}. Choose one: keras.Model(model.input, model.outputs[-1])."
        )
    if not isinstance(outputs[0], keras.KerasTensor) or len(outputs[0].shape) not in (2, 3, 4):
        raise ValueError(
            "A backbone must return vectors (batch, channels), tokens (batch, tokens, channels) or feature maps "
            f"(batch, height, width, channels). Received: {tuple(outputs[0].shape)}. Choose a lower layer."
        )
    if not isinstance(model, keras.Sequential) and model.output is not outputs[0]:
        # A single tensor in a list or dict.
        return keras.Model(model.inputs[0], outputs[0], name=model.name)
    return model


def _with_fixed_input(model: keras.Model, input_shape: Any) -> keras.Model:
    known = _known_input_shape(model)
    shape = known if input_shape is None else tuple(input_shape)
    if shape is None:
        raise ValueError(
            f"`input_shape` must be given for a model that is not built yet. Received: {model.name!r}. Give, for "
            "example, input_shape=(224, 224, 3)."
        )
    if len(shape) != 3 or shape[-1] != 3:
        raise ValueError(
            f"A backbone must have one input of shape (height, width, 3). Received: {shape}. {channels_hint(shape)}"
        )
    if None in shape:
        raise ValueError(
            f"`input_shape` must be given for a model without a fixed input size. Received: {shape}. Give, for "
            "example, input_shape=(224, 224, 3)."
        )
    if known is not None and any(side not in (None, given) for side, given in zip(known, shape)):
        raise ValueError(f"`input_shape` must be that of the model, {known}. Received: {shape}. Omit it.")
    if is_functional(model):
        return model if known == shape else with_input_shape(model, shape)
    # A subclassed model, or one that is not built yet: an input defines the shapes of its layers.
    images = keras.Input(shape)
    return keras.Model(images, model(images), name=model.name)


def _known_input_shape(model: keras.Model) -> tuple[Any, ...] | None:
    """Return the shape of the only input without the batch axis, or None where it is not known."""
    shape = getattr(model, "input_shape", None) if getattr(model, "inputs", None) else None
    if shape is None:
        return None
    if not isinstance(shape, tuple) or len(model.inputs) != 1 or len(shape) != 4:
        raise ValueError(
            f"A backbone must have one input of shape (height, width, 3). Received: inputs of the shapes {shape}. "
            "Use a model of images alone."
        )
    return shape[1:]
