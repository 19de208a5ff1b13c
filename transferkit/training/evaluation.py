"""Logits, labels and penalties of a classifier over a dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transferkit.data.element_errors import element_errors
from transferkit.errors import DataError


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluated:
    """The outputs for the images of a dataset, in its order.

    Attributes:
        logits: float (n, units).
        labels: (n,) or (n, units).
        penalty: what regularizers and `add_loss` add to the mean loss, as in Keras' `evaluate`.
    """

    logits: np.ndarray
    labels: np.ndarray
    penalty: float


# From a batch of inputs to its logits and the sum of what the model adds to the loss.
EvaluationStep = Callable[[Any], tuple[tf.Tensor, tf.Tensor]]


def make_evaluation_step(model: keras.Model, *, jit_compile: bool) -> EvaluationStep:
    """Return a function that runs `model` in inference mode; keep it, because it is traced at its first call."""

    def step(inputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        logits = model(inputs, training=False)
        losses = [tf.cast(loss, tf.float32) for loss in model.losses]
        return logits, tf.add_n(losses) if losses else tf.constant(0.0)

    return tf.function(step, autograph=False, jit_compile=jit_compile, reduce_retracing=True)


def evaluate_batches(step: EvaluationStep, batches: tf.data.Dataset) -> Evaluated:
    """Return the outputs for batches (inputs, labels).

    Raises:
        DataError: when there is no batch, or the dataset of a user has a wrong element.
    """
    # Labels are read in the same pass: a dataset that shuffles has another order in the next.
    with element_errors():
        results = [(*step(batch[0]), batch[1]) for batch in batches]
    if not results:
        raise DataError("`dataset` must have at least one batch. Received: none. See data.report.")
    logits, penalties, labels = ([np.asarray(value) for value in column] for column in zip(*results))
    penalty = np.average(penalties, weights=[len(part) for part in labels])
    return Evaluated(np.concatenate(logits), np.concatenate(labels), float(penalty))
