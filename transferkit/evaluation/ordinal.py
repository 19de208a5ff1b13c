"""Metrics of classes in an order: how far the predicted class is from the true one."""

from __future__ import annotations

import numpy as np

from transferkit.evaluation.outcomes import Outcomes
from transferkit.evaluation.resampling import Statistic

ORDINAL_METRICS = ("mean_absolute_error", "within_one_accuracy", "quadratic_kappa")


def ordinal_metric(name: str, outcomes: Outcomes) -> Statistic:
    """Return a function from weights (samples, images) to the values (samples,) of a metric of class indices.

    Raises:
        ValueError: for multi-label classification.
    """
    if outcomes.multi_label:
        raise ValueError(f"The metric {name!r} requires one label per image. Received: several. Use 'macro_f1'.")
    labels, predictions = outcomes.labels.astype(float), outcomes.predictions.astype(float)
    distances = np.abs(labels - predictions)
    if name == "mean_absolute_error":
        return _mean(distances)
    if name == "within_one_accuracy":
        return _mean(distances <= 1)
    return lambda weights: _quadratic_kappa(labels, predictions, weights)


def _mean(values: np.ndarray) -> Statistic:
    return lambda weights: weights @ values / weights.sum(axis=1)


def _quadratic_kappa(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    weights = weights / weights.sum(axis=1, keepdims=True)
    observed = weights @ (labels - predictions) ** 2
    # The mean squared distance of a label and a prediction of independent images.
    chance = weights @ labels**2 + weights @ predictions**2 - 2 * (weights @ labels) * (weights @ predictions)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(chance > 1e-12, 1 - observed / chance, np.nan)
