"""The outputs of the frozen part of a classifier for splits of stored features."""

from __future__ import annotations

from typing import Any

import keras

from transferkit.data.examples import Split
from transferkit.errors import DataError
from transferkit.features.store import FeatureArray
from transferkit.modeling.fingerprint import model_fingerprint


def stored_outputs(split: Split, model: keras.Model, options: Any, num_views: int) -> tuple[FeatureArray]:
    """Return the features of a split that has them, as a run of the frozen model would.

    Raises:
        DataError: when another model computed them, or in a lower precision.
        ValueError: for augmented views, and for another type than float32.
    """
    features = split.features
    assert features is not None, "the split has stored features"
    model_id = model_fingerprint(model)
    if features.model_id != model_id:
        raise DataError(
            "The stored features must be the outputs of the frozen part of the classifier. Received: features of the "
            f"model {features.model_id[:16]} for a frozen part {model_id[:16]}. Build the classifier with the backbone "
            "that computed the features, its input size and its pooling."
        )
    if features.precision not in (options.precision, "float32"):
        raise DataError(
            f"The stored features must have the precision of the trainer or more. Received: {features.precision} for "
            f"precision={options.precision!r}. Use precision={features.precision!r}."
        )
    if num_views > 1:
        raise ValueError(
            f"`num_views` must be 1 for stored features, which have one view. Received: {num_views}. Omit it."
        )
    if options.feature_dtype != "float32":
        raise ValueError(
            f"`feature_dtype` must be 'float32' for stored features. Received: {options.feature_dtype!r}. Omit it."
        )
    return (features.array,)
