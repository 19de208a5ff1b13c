"""The models of keras.applications, built with the weights asked for."""

from __future__ import annotations

import inspect
import re
from typing import Any

import keras
import numpy as np

from transferkit.backbones.weights import load_weights_file, resolve_weights_file, with_imagenet_weights

_EFFICIENTNET = re.compile(r"EfficientNetB\d$")
# The published EfficientNets carry ImageNet's standard deviations where the Normalization layer takes variances, and
# Keras mends that, for weights="imagenet" only, with a layer that divides by the root of the deviations once more.
# https://github.com/tensorflow/tensorflow/issues/49930
_PUBLISHED_VARIANCE = np.array([0.229, 0.224, 0.225])


def list_applications() -> list[str]:
    """Return the names of all models of the installed keras.applications."""
    return sorted(
        name
        for name, value in vars(keras.applications).items()
        if name[:1].isupper() and callable(value) and "include_top" in inspect.signature(value).parameters
    )


def build_application(
    name: str,
    input_shape: tuple[int, int, int],
    weights: Any,
    *,
    include_top: bool = False,
    sha256: str | None = None,
    folder: Any = None,
    **options: Any,
) -> keras.Model:
    """Build a model of keras.applications.

    Args:
        name: as Keras spells it.
        input_shape: (height, width, 3).
        weights: "imagenet", None, or what `fetch` takes.
        include_top: with the ImageNet classes, giving logits.
        sha256, folder: as in `fetch`.
        options: as Keras takes them (`alpha=0.35`).

    Raises:
        WeightsError: when the weights cannot be had or do not fit.
    """
    make = getattr(keras.applications, name)
    options = {**options, "include_top": include_top, "input_shape": input_shape}
    if include_top:
        options["classifier_activation"] = None
    if weights == "imagenet" and not _EFFICIENTNET.match(name):
        return with_imagenet_weights(name, lambda: make(weights="imagenet", **options))
    model = make(weights=None, **options)
    if weights == "imagenet":
        # Built with "imagenet", these models have a layer more than from a file. Both get the same layers here, so that
        # a layer's number means the same, and the same scale.
        published = with_imagenet_weights(name, lambda: make(weights="imagenet", **options))
        model.set_weights(published.get_weights())
    elif weights is not None:
        said = "".join(f", {key}={value}" for key, value in options.items() if key not in ("input_shape",))
        load_weights_file(
            model, resolve_weights_file(weights, sha256=sha256, folder=folder), build_hint=f" ({said[2:]})"
        )
    if weights is not None and _EFFICIENTNET.match(name):
        _fix_normalization_variance(model)
    return model


def _fix_normalization_variance(model: keras.Model) -> None:
    """Give a published EfficientNet the scale that Keras gives it for weights="imagenet" only.

    Multiplying the variance by the deviation comes to the same as Keras' further layer. Weights that carry another
    variance, trained by somebody or mended before, are left as they are.
    """
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    mean, variance, count = layer.get_weights()
    if np.allclose(variance, _PUBLISHED_VARIANCE, rtol=1e-2):
        layer.set_weights([mean, variance * _PUBLISHED_VARIANCE, count])
        # The layer works with what it made of its weights when it was built.
        layer.finalize_state()
