"""The logits of a model on a whole dataset, by the shortest way."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from transferkit.data.pipeline import split_of
from transferkit.errors import DataError
from transferkit.features.cut import constant_part
from transferkit.training.batches import evaluation_batches
from transferkit.training.phase import Extractor

__all__ = ["logits_of"]


def logits_of(
    model: keras.Model, dataset: tf.data.Dataset, *, extractor: Extractor | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return (logits, labels) of `model` on `dataset`, in the same order.

    Args:
        model: from images to logits.
        dataset: batches of (images, labels).
        extractor: how the constant part is run, and its stored results read, or None to run the whole model.
    """
    split = split_of(dataset)
    cut = constant_part(model) if extractor is not None and split is not None and split.stream is None else None
    if extractor is None or split is None or cut is None or cut.lower is None:
        return _collect(model, dataset)
    batches = evaluation_batches(extractor.features(split, cut), split.labels, batch_size=256)
    return _collect(cut.upper, batches)


def _collect(model: keras.Model, batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    # Labels come along with the images in one pass: a dataset that shuffles gives another order in the next.
    forward = tf.function(lambda inputs: model(inputs, training=False), reduce_retracing=True)
    pairs = [(forward(batch[0]).numpy(), np.asarray(batch[1])) for batch in batches]
    if not pairs:
        raise DataError("The dataset must hold at least one batch. Received: none. Look at data.report.")
    logits, labels = zip(*pairs)
    return np.concatenate(logits), np.concatenate(labels)
