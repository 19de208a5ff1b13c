"""Verifies an exported model: its own runtime against Keras, on the same images, in batches of 1, 2 and 7."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from transferkit.engines.base import KerasEngine
from transferkit.exporting.measures import measures_of
from transferkit.exporting.options import Run
from transferkit.prediction import Predictor

BATCH_SIZES = (1, 2, 7)
_TIMED_RUNS, _WARM_UP_RUNS = 15, 3
_REFERENCE_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Verification:
    """How an exported model compares with the original.

    Attributes:
        max_difference: largest difference of probabilities, or of numbers in standard deviations of the labels.
        label_agreement: fraction of labels that are equal; None for numbers.
        latency_ms: milliseconds for one image, median.
        keras_latency_ms: those of the Keras model.
        accuracy: on labeled images, or None.
        keras_accuracy: of the Keras model, or None.
        mean_absolute_error: of numbers on labeled images, or None.
        keras_mean_absolute_error: of the Keras model, or None.
    """

    max_difference: float
    label_agreement: float | None
    latency_ms: float
    keras_latency_ms: float
    accuracy: float | None = None
    keras_accuracy: float | None = None
    mean_absolute_error: float | None = None
    keras_mean_absolute_error: float | None = None


def verify(run: Run, predictor: Predictor, images: np.ndarray, labels: np.ndarray | None = None) -> Verification:
    """Compare a model with the Keras model of a predictor on images uint8 (n, height, width, 3).

    Raises:
        ValueError: when the model returns other shapes, or values that are not finite.
    """
    expected, measures, name = reference_values(predictor, images), measures_of(predictor), predictor.outputs.name
    differences = []
    for size in BATCH_SIZES:
        indices = np.arange(size) % len(images)
        actual = _run(run, images[indices], name, expected[indices].shape)
        differences.append(np.abs(actual - expected[indices]).max())
    size = BATCH_SIZES[-1]
    batches = [slice(start, start + size) for start in range(0, len(images), size)]
    actual = np.concatenate([_run(run, images[batch], name, expected[batch].shape) for batch in batches])
    return Verification(
        max_difference=float(max(*differences, np.abs(actual - expected).max())) / measures.scale(expected),
        label_agreement=measures.label_agreement(expected, actual),
        latency_ms=_median_ms(lambda: run(images[:1])),
        keras_latency_ms=_median_ms(_keras_call(predictor, images[:1])),
        **({} if labels is None else measures.scores(expected, actual, labels)),
    )


def largest_difference(run: Run, predictor: Predictor, images: np.ndarray) -> float:
    """Return the largest difference of probabilities or numbers on images of one batch, as in `verify`."""
    expected = reference_values(predictor, images)
    actual = _run(run, images, predictor.outputs.name, expected.shape)
    return float(np.abs(actual - expected).max()) / measures_of(predictor).scale(expected)


def reference_values(predictor: Predictor, images: np.ndarray) -> np.ndarray:
    """Return the probabilities (n, classes) or numbers (n, 1) of the Keras model, called layer by layer."""
    (outputs,) = KerasEngine(predictor.model, _REFERENCE_BATCH)(images)
    return predictor.outputs.values(outputs)


def _run(run: Run, images: np.ndarray, name: str, shape: tuple[int, ...]) -> np.ndarray:
    outputs = np.asarray(run(images)[name])
    if outputs.shape != shape:
        raise ValueError(f"it returns {name} {outputs.shape} in place of {shape}")
    if not np.isfinite(outputs).all():
        raise ValueError("it returns values that are not finite")
    return outputs


def _keras_call(predictor: Predictor, image: np.ndarray) -> Callable[[], Any]:
    model: Any = predictor.model
    call = tf.function(lambda batch: model(batch, training=False), autograph=False)
    batch = tf.constant(image, tf.float32)
    return lambda: np.asarray(call(batch))


def _median_ms(call: Callable[[], Any]) -> float:
    for _ in range(_WARM_UP_RUNS):
        call()
    seconds = []
    for _ in range(_TIMED_RUNS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds) * 1000)
