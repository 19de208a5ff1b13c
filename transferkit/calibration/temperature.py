"""Temperature scaling: one number by which all logits are divided."""

from __future__ import annotations

import math

import numpy as np

# Beyond these temperatures, probabilities are those of random guessing or 0 and 1.
_LOWEST, _HIGHEST = 0.01, 100.0
# Each step halves the interval of the logarithm of the temperature: the last one has a width of 1e-11.
_STEPS = 40


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature with the smallest cross-entropy.

    `logits` are float (n, units) with labels int (n,) for one of several classes or, with one unit, for two; or labels
    0/1 (n, units) for independent labels.

    >>> logits = np.log([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]])
    >>> round(fit_temperature(logits, np.array([0, 0, 0, 1])), 4)  # log(9) / log(3)
    2.0

    Reference: Guo et al., "On Calibration of Modern Neural Networks", 2017, arXiv:1706.04599.
    """
    logits = np.asarray(logits, np.float64)
    # The loss is convex in the inverse of the temperature, so its slope has one change of sign.
    low, high = np.log(1 / _HIGHEST), np.log(1 / _LOWEST)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        is_rising = _slope(logits, labels, float(np.exp(middle))) > 0
        low, high = (low, middle) if is_rising else (middle, high)
    return float(np.exp(-(low + high) / 2))


def shrunk_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature with the smallest cross-entropy, shrunk toward 1 where few images speak for it.

    Few images, or few mistakes among them, determine the temperature so poorly that it would make the probabilities of
    new images worse. Its logarithm is multiplied by 1 - 1 / (2 * gain), or by 0 where that is negative; the gain is the
    sum over the images by which it lowers the cross-entropy, and twice the gain the likelihood-ratio statistic.

    Reference: James and Stein, "Estimation with Quadratic Loss", 1961.
    """
    logits = np.asarray(logits, np.float64)
    temperature = fit_temperature(logits, labels)
    gain = cross_entropy(logits, labels).sum() - cross_entropy(logits / temperature, labels).sum()
    return math.exp(math.log(temperature) * max(0.0, 1 - 1 / (2 * gain))) if gain > 0 else 1.0


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the loss of each image; of independent labels the sum over the labels."""
    if labels.ndim == 1 and logits.shape[1] > 1:
        highest = logits.max(axis=1)
        normalizer = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
        return normalizer - logits[np.arange(len(labels)), labels]
    targets = labels[:, None] if labels.ndim == 1 else labels
    return np.sum(np.logaddexp(0.0, logits) - targets * logits, axis=1)


def _slope(logits: np.ndarray, labels: np.ndarray, factor: float) -> float:
    """Return the derivative of the cross-entropy of `factor * logits` with respect to `factor`."""
    if labels.ndim == 1 and logits.shape[1] > 1:
        return float(
            np.mean(np.sum(softmax(factor * logits) * logits, axis=1) - logits[np.arange(len(labels)), labels])
        )
    targets = labels[:, None] if labels.ndim == 1 else labels
    return float(np.mean((sigmoid(factor * logits) - targets) * logits))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities whose sum is 1 in each row."""
    values = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return values / values.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return independent probabilities."""
    return np.exp(-np.logaddexp(0.0, -logits))
