"""Classifiers that share one backbone: fine-tuning one of them changes the others."""

from __future__ import annotations

import warnings
import weakref

import keras

_ATTRIBUTE = "transferkit_classifiers"


def add_classifier(backbone: keras.Model, classifier: keras.Model) -> None:
    """Note, on the backbone itself, that `classifier` contains it."""
    if not hasattr(backbone, _ATTRIBUTE):
        setattr(backbone, _ATTRIBUTE, weakref.WeakSet())
    getattr(backbone, _ATTRIBUTE).add(classifier)


def warn_if_shared(backbone: keras.Model, classifier: keras.Model) -> None:
    """Warn when another classifier that still exists contains `backbone`."""
    others = sum(other is not classifier for other in getattr(backbone, _ATTRIBUTE, ()))
    if others:
        warnings.warn(
            f"The backbone {backbone.name!r} is part of {others} other classifier{'s' * (others > 1)}, whose "
            "predictions change when it is fine-tuned. Create a backbone for each classifier.",
            UserWarning,
            stacklevel=4,
        )
