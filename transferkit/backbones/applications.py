"""Models of keras.applications with the requested weights."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np

from transferkit.backbones.weights import load_weights_file, with_imagenet_weights

_EFFICIENTNET = re.compile(r"EfficientNetB\d$")
# The published EfficientNets store ImageNet's standard deviations where the Normalization layer expects variances.
# For weights="imagenet" only, Keras corrects that with another layer, which divides by the root of the deviations.
# https://github.com/tensorflow/tensorflow/issues/49930
_PUBLISHED_VARIANCE = np.array([0.229, 0.224, 0.225])
# Arguments that the factory sets, that have no effect without the top, or that would change the preprocessing.
_RESERVED = ["include_top", "weights", "input_shape", "input_tensor", "classes", "classifier_activation"]
_RESERVED += ["include_preprocessing"]


def list_applications() -> list[str]:
    """Return the names of all models of the installed keras.applications."""
    return sorted(
        name
        for name, value in vars(keras.applications).items()
        if name[:1].isupper() and callable(value) and "include_top" in inspect.signature(value).parameters
    )


def application_options(name: str, *, top: bool) -> list[str]:
    """Return the arguments of a model function that a user may set, for example "alpha"."""
    reserved = [*_RESERVED, "pooling"] if top else _RESERVED
    return [key for key in inspect.signature(getattr(keras.applications, name)).parameters if key not in reserved]


def build_application(
    name: str,
    input_shape: tuple[int, int, int],
    weights: Path | str | None,
    *,
    include_top: bool = False,
    **options: Any,
) -> keras.Model:
    """Return a model of keras.applications with `weights`: "imagenet", None (random) or the path of a file.

    With `include_top`, the model ends in the logits of the ImageNet classes.
    """
    constructor = getattr(keras.applications, name)
    options = {**options, "include_top": include_top, "input_shape": input_shape}
    if include_top:
        options["classifier_activation"] = None
    if weights == "imagenet" and not _EFFICIENTNET.match(name):
        return with_imagenet_weights(name, lambda: constructor(weights="imagenet", **options))
    model = constructor(weights=None, **options)
    if weights == "imagenet":
        # With "imagenet", EfficientNets have one layer more than with a file. Copying the weights makes the layer
        # indices and the scale equal in both cases.
        published = with_imagenet_weights(name, lambda: constructor(weights="imagenet", **options))
        model.set_weights(published.get_weights())
    elif isinstance(weights, Path):
        hint = ", ".join(f"{key}={value}" for key, value in options.items() if key != "input_shape")
        load_weights_file(model, weights, build_hint=f" ({hint})")
    if weights is not None and _EFFICIENTNET.match(name):
        _fix_normalization_variance(model)
    return model


def _fix_normalization_variance(model: keras.Model) -> None:
    """Apply the correction of Keras to a published EfficientNet; leave any other variance unchanged.

    Multiplying the variance by the deviation is equivalent to Keras' additional layer.
    """
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    mean, variance, count = layer.get_weights()
    if np.allclose(variance, _PUBLISHED_VARIANCE, rtol=1e-2):
        layer.set_weights([mean, variance * _PUBLISHED_VARIANCE, count])
        # The layer computes with values that it derived from its weights when it was built.
        layer.finalize_state()
