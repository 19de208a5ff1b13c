"""The logits of a model on a whole dataset, by the shortest way."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from transferkit.data.pipeline import split_of
from transferkit.errors import DataError
from transferkit.modeling.partition import ModelPartition
from transferkit.training.feature_batches import evaluation_batches
from transferkit.training.phases import Extractor


def logits_of(
    model: keras.Model, dataset: tf.data.Dataset, *, cut: ModelPartition | None, extractor: Extractor
) -> tuple[np.ndarray, np.ndarray]:
    """Return (logits, labels) of `model` on `dataset`, in the same order.

    Args:
        model: from images to logits.
        dataset: batches of (images, labels).
        cut: the constant part of the model, whose stored results are read, or None to run the whole model.
        extractor: how the constant part is run.
    """
    split = split_of(dataset)
    if cut is None or cut.lower is None or split is None or split.stream is not None:
        return _collect(model, dataset)
    (features,) = extractor.features(split, cut)
    batches = evaluation_batches(features, split.labels)
    return _collect(cut.upper, batches)


def _collect(model: keras.Model, batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    # Labels come along with the images in one pass: a dataset that shuffles gives another order in the next.
    pairs = [(model.predict_on_batch(batch[0]), np.asarray(batch[1])) for batch in batches]
    if not pairs:
        raise DataError("The dataset must hold at least one batch. Received: none. Look at data.report.")
    logits, labels = zip(*pairs)
    return np.concatenate(logits), np.concatenate(labels)
