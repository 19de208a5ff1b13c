"""Metrics of predicted numbers as functions of the weights of the images, for values and bootstrap samples alike."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from transferkit._utils.checks import check_choice
from transferkit.evaluation.resampling import Statistic

# From labels (n,) and predictions (n,) to a function of weights (samples, n) with one value per sample. Weights are
# the numbers of times that each image is in a sample.
_Metric = Callable[[np.ndarray, np.ndarray], Statistic]


def regression_metric(name: str, labels: np.ndarray, predictions: np.ndarray) -> Statistic:
    """Return the metric `name` as a function of weights (samples, images)."""
    return _METRICS[check_choice("metric", name, METRICS)](labels, predictions)


def regression_value(name: str, labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the value of the metric `name`, NaN where it is not defined."""
    return float(regression_metric(name, labels, predictions)(np.ones((1, len(labels))))[0])


def _mean_absolute_error(labels: np.ndarray, predictions: np.ndarray) -> Statistic:
    return _mean_of(np.abs(labels - predictions))


def _root_mean_squared_error(labels: np.ndarray, predictions: np.ndarray) -> Statistic:
    mean_square = _mean_of((labels - predictions) ** 2)
    return lambda weights: np.sqrt(mean_square(weights))


def _median_absolute_error(labels: np.ndarray, predictions: np.ndarray) -> Statistic:
    errors = np.abs(labels - predictions)
    order = np.argsort(errors, kind="stable")

    def median(weights: np.ndarray) -> np.ndarray:
        ends = np.cumsum(weights[:, order], axis=1)
        last = ends[:, -1].astype(int)
        # The two middle positions, which are the same for an odd number of images.
        middle = [(ends > ((last - shift) // 2)[:, None]).argmax(axis=1) for shift in (1, 0)]
        return errors[order][np.stack(middle)].mean(axis=0)

    return median


def _r2(labels: np.ndarray, predictions: np.ndarray) -> Statistic:
    squares = (labels - predictions) ** 2

    def fraction(weights: np.ndarray) -> np.ndarray:
        return 1 - _divide(weights @ squares, _moments(weights, labels, labels))

    return fraction


def _pearson(labels: np.ndarray, predictions: np.ndarray) -> Statistic:
    return lambda weights: _correlation(weights, labels, predictions)


def _spearman(labels: np.ndarray, predictions: np.ndarray) -> Statistic:
    pairs = [np.unique(values, return_inverse=True)[1] for values in (labels, predictions)]

    def correlation(weights: np.ndarray) -> np.ndarray:
        first, second = (_ranks(weights, positions) for positions in pairs)
        return _correlation(weights, first, second)

    return correlation


def _ranks(weights: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the ranks (samples, images) of values; `positions` are those in the sorted different values."""
    order = np.argsort(positions, kind="stable")
    starts = np.searchsorted(positions[order], np.arange(positions.max() + 1))
    counts = np.add.reduceat(weights[:, order], starts, axis=1)
    # Equal values have the mean of their ranks.
    return (np.cumsum(counts, axis=1) - (counts - 1) / 2)[:, positions]


def _mean_of(values: np.ndarray) -> Statistic:
    return lambda weights: weights @ values / weights.sum(axis=1)


def _correlation(weights: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    spread = _moments(weights, first, first) * _moments(weights, second, second)
    return np.clip(_divide(_moments(weights, first, second), np.sqrt(spread)), -1, 1)


def _moments(weights: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the sum of the products of the distances from the means, for each sample."""
    total = weights.sum(axis=1, keepdims=True)
    first, second = (v - (weights * v).sum(axis=1, keepdims=True) / total for v in (first, second))
    return (weights * first * second).sum(axis=1)


def _divide(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Return the ratio; NaN where the divisor is 0, as for labels that are all equal."""
    return np.divide(values, by, out=np.full_like(values, math.nan), where=by > 0)


_METRICS: dict[str, _Metric] = {
    "mean_absolute_error": _mean_absolute_error,
    "root_mean_squared_error": _root_mean_squared_error,
    "median_absolute_error": _median_absolute_error,
    "r2": _r2,
    "pearson": _pearson,
    "spearman": _spearman,
}
METRICS = tuple(_METRICS)
