"""Thresholds of probabilities for a precision, a recall or an accuracy that is to be reached."""

from __future__ import annotations

import numpy as np

# Of a ratio of numbers of images.
_ROUNDING = 1e-12


def precision_threshold(positive: np.ndarray, probabilities: np.ndarray, precision: float) -> float | None:
    """Return the smallest threshold at which predictions have at least `precision`, or None if none has.

    An image is positive from the threshold on; `positive` is bool (n,), `probabilities` float (n,).

    >>> precision_threshold(np.array([False, True, True]), np.array([0.2, 0.4, 0.8]), 1.0)
    0.4
    """
    values, true, predicted = _cumulative(positive, probabilities)
    reached = np.flatnonzero(true / predicted >= precision - _ROUNDING)
    return float(values[reached[-1]]) if len(reached) else None


def recall_threshold(positive: np.ndarray, probabilities: np.ndarray, recall: float) -> float | None:
    """Return the largest threshold at which at least the fraction `recall` of the positive images is found.

    None without positive images.

    >>> recall_threshold(np.array([True, False, True]), np.array([0.2, 0.4, 0.8]), 0.5)
    0.8
    """
    values, true, _ = _cumulative(positive, probabilities)
    return float(values[np.argmax(true / true[-1] >= recall - _ROUNDING)]) if true[-1] else None


def confidence_threshold(correct: np.ndarray, confidence: np.ndarray, accuracy: float) -> float | None:
    """Return the smallest confidence from which predictions have at least `accuracy`, or None if none has.

    Reference: Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", 2017, arXiv:1705.08500.
    """
    return precision_threshold(correct, confidence, accuracy)


def selective_accuracy(correct: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return thresholds, decreasing, the fraction of images from each on, and the accuracy of these.

    >>> [values.tolist() for values in selective_accuracy(np.array([True, False]), np.array([0.9, 0.6]))]
    [[0.9, 0.6], [0.5, 1.0], [1.0, 0.5]]
    """
    values, true, predicted = _cumulative(correct, confidence)
    return values, predicted / len(correct), true / predicted


def _cumulative(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distinct scores, decreasing, and the positives and all images from each of them on."""
    order = np.argsort(-scores, kind="stable")
    # The last image of equal scores, which no threshold separates.
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    return scores[order][ends], np.cumsum(positive[order])[ends], ends + 1
