"""Logits over a dataset."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from transferkit.errors import DataError


def predict_logits(model: keras.Model, batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return (logits, labels) of `model` on batches (inputs, labels), in the same order.

    Raises:
        DataError: when there is no batch.
    """
    # Labels are read in the same pass: a dataset that shuffles has another order in the next.
    pairs = [(model.predict_on_batch(batch[0]), np.asarray(batch[1])) for batch in batches]
    if not pairs:
        raise DataError("`dataset` must have at least one batch. Received: none. See data.report.")
    logits, labels = zip(*pairs)
    return np.concatenate(logits), np.concatenate(labels)
