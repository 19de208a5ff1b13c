"""Verifies an exported model: its own runtime against Keras, on the same images, in batches of 1, 2 and 7."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from transferkit.engines.base import KerasEngine
from transferkit.exporting.options import Run
from transferkit.prediction import Predictor, to_probabilities
from transferkit.runtimes.base import PROBABILITIES

BATCH_SIZES = (1, 2, 7)
# Classes with probabilities this close are a tie, in which either label is right.
_TIE = 2e-5
_TIMED_RUNS, _WARM_UP_RUNS = 15, 3
_REFERENCE_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Verification:
    """How an exported model compares with the original.

    Attributes:
        max_difference: largest difference of probabilities.
        label_agreement: fraction of labels that are equal.
        latency_ms: milliseconds for one image, median.
        keras_latency_ms: those of the Keras model.
        accuracy: on labeled images, or None.
        keras_accuracy: of the Keras model, or None.
    """

    max_difference: float
    label_agreement: float
    latency_ms: float
    keras_latency_ms: float
    accuracy: float | None = None
    keras_accuracy: float | None = None


def verify(run: Run, predictor: Predictor, images: np.ndarray, labels: np.ndarray | None = None) -> Verification:
    """Compare a model with the Keras model of a predictor on images uint8 (n, height, width, 3).

    Raises:
        ValueError: when the model returns other shapes, or values that are not finite.
    """
    expected = reference_probabilities(predictor, images)
    differences = []
    for size in BATCH_SIZES:
        indices = np.arange(size) % len(images)
        differences.append(np.abs(_run(run, images[indices], expected[indices].shape) - expected[indices]).max())
    size = BATCH_SIZES[-1]
    batches = [slice(start, start + size) for start in range(0, len(images), size)]
    actual = np.concatenate([_run(run, images[batch], expected[batch].shape) for batch in batches])
    return Verification(
        max_difference=float(max(*differences, np.abs(actual - expected).max())),
        label_agreement=float(np.mean(_labels_agree(predictor, expected, actual))),
        latency_ms=_median_ms(lambda: run(images[:1])),
        keras_latency_ms=_median_ms(_keras_call(predictor, images[:1])),
        accuracy=None if labels is None else _accuracy(predictor, actual, labels),
        keras_accuracy=None if labels is None else _accuracy(predictor, expected, labels),
    )


def largest_difference(run: Run, predictor: Predictor, images: np.ndarray) -> float:
    """Return the largest difference of probabilities on images of one batch."""
    expected = reference_probabilities(predictor, images)
    return float(np.abs(_run(run, images, expected.shape) - expected).max())


def reference_probabilities(predictor: Predictor, images: np.ndarray) -> np.ndarray:
    """Return the probabilities (n, classes) of the Keras model, called layer by layer."""
    (outputs,) = KerasEngine(predictor.model, _REFERENCE_BATCH)(images)
    scaled = outputs if predictor.calibration is None else predictor.calibration.scale(outputs)
    return to_probabilities(scaled, predictor.activation, len(predictor.class_names))


def _run(run: Run, images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    outputs = np.asarray(run(images)[PROBABILITIES])
    if outputs.shape != shape:
        raise ValueError(f"it returns probabilities {outputs.shape} in place of {shape}")
    if not np.isfinite(outputs).all():
        raise ValueError("it returns values that are not finite")
    return outputs


def _labels_agree(predictor: Predictor, expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Return whether each image has the same label, or each independent label the same decision."""
    if predictor.multi_label:
        thresholds = np.array(predictor.thresholds or [0.5] * expected.shape[1])
        close = np.abs(expected - thresholds) <= _TIE
        return ((expected >= thresholds) == (actual >= thresholds)) | close
    before, after = _predicted(predictor, expected), _predicted(predictor, actual)
    rows = np.arange(len(expected))
    return (before == after) | (np.abs(expected[rows, before] - expected[rows, after]) <= _TIE)


def _predicted(predictor: Predictor, probabilities: np.ndarray) -> np.ndarray:
    calibration = predictor.calibration
    if calibration is None:
        return probabilities.argmax(axis=1)
    return np.array([calibration.predicted_class(row) for row in probabilities])


def _accuracy(predictor: Predictor, probabilities: np.ndarray, labels: np.ndarray) -> float:
    if predictor.multi_label:
        thresholds = np.array(predictor.thresholds or [0.5] * probabilities.shape[1])
        return float(np.mean((probabilities >= thresholds) == (labels == 1)))
    true = labels.argmax(axis=1) if labels.ndim == 2 else labels
    return float(np.mean(_predicted(predictor, probabilities) == true))


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
