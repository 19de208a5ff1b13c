"""Checks that a model takes RGB images with the channels last, before anything is computed."""

from __future__ import annotations

from typing import Any

import keras

from transferkit.modeling.keras_graph import is_functional

_EXAMPLE = "images = keras.Input((224, 224, 3)); model = keras.Model(images, model(images))"


def check_channels_last() -> None:
    """Raise a ValueError when Keras is configured for images with the channels first."""
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "Keras' image_data_format must be 'channels_last': images are (height, width, 3). Received: "
            f"{keras.config.image_data_format()!r}. Call keras.config.set_image_data_format('channels_last')."
        )


def check_image_model(model: Any) -> None:
    """Raise an error unless `model` is a functional or Sequential model from one RGB image of a fixed size."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {type(model).__name__}. Make one with build_classifier(...)."
        )
    check_channels_last()
    if not is_functional(model):
        raise ValueError(
            f"`model` must be a functional or Sequential model with an input. Received: a {type(model).__name__} whose "
            f"graph is unknown. Wrap it: {_EXAMPLE}."
        )
    shape = model.input_shape
    if len(model.inputs) != 1 or not isinstance(shape, tuple) or len(shape) != 4:
        raise ValueError(
            f"`model` must have one input, of images (height, width, 3). Received: inputs of the shapes {shape}. "
            "Use a model of images alone."
        )
    if shape[-1] != 3:
        raise ValueError(
            f"`model` must take RGB images (height, width, 3). Received: {shape[1:]}. {channels_hint(shape[1:])}"
        )
    if None in shape[1:]:
        raise ValueError(
            f"`model` must have a fixed input size. Received: {shape[1:]}. Wrap it with the size of the images: "
            f"{_EXAMPLE}."
        )


def channels_hint(shape: tuple[int | None, ...]) -> str:
    """Return what to do with a model for images of a shape that does not end in 3."""
    if len(shape) == 3 and shape[0] in (1, 3):
        return "Build it with data_format='channels_last': images have the channels last."
    return "Start the model with a layer that converts RGB images."
