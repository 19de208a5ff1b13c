"""Uncertainty of metrics: bootstrap, confidence intervals, McNemar's test."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

# Numbers per chunk of samples: 2 MB, which the cache of a processor holds. Four times as many take three times as long.
_CHUNK = 250_000

# A statistic of the images as a function of weights (samples, images), with one value per sample.
Statistic = Callable[[np.ndarray], np.ndarray]


class ConfidenceInterval(NamedTuple):
    """The bounds of a confidence interval.

    Attributes:
        low: float.
        high: float.
    """

    low: float
    high: float

    def __str__(self) -> str:
        return f"[{self.low:.4f}, {self.high:.4f}]"


def bootstrap(statistic: Statistic, num_images: int, *, samples: int, seed: int) -> np.ndarray:
    """Return the statistic of `samples` sets of images, each sampled with replacement.

    The same seed and number of images give the same sets, so that two statistics can be compared in pairs.

    Reference: Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979.
    """
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // num_images)
    sizes = [min(chunk, samples - start) for start in range(0, samples, chunk)]
    return np.concatenate([statistic(_sampled_weights(generator, size, num_images)) for size in sizes])


def _sampled_weights(generator: np.random.Generator, samples: int, num_images: int) -> np.ndarray:
    """Return (samples, images), how many times each image is in each sample."""
    indices = generator.integers(num_images, size=(samples, num_images))
    indices += np.arange(samples)[:, None] * num_images
    counts = np.bincount(indices.ravel(), minlength=samples * num_images)
    return counts.reshape(samples, num_images).astype(np.float64)


def percentile_interval(values: np.ndarray, level: float) -> ConfidenceInterval:
    """Return the interval that contains the fraction `level` of the values, without those that are NaN."""
    values = values[~np.isnan(values)]
    if not len(values):
        return ConfidenceInterval(math.nan, math.nan)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return ConfidenceInterval(float(low), float(high))


def wilson_interval(fraction: float, count: int, z: float = 1.959964) -> ConfidenceInterval:
    """Return the interval of a fraction of `count` images, useful for few images too; by default at level 0.95.

    Reference: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    shrunk = (fraction + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(fraction * (1 - fraction) / count + (z / (2 * count)) ** 2)
    return ConfidenceInterval(max(0.0, shrunk - half), min(1.0, shrunk + half))


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    It is the probability of a difference of at least this size between the images that only one of two classifiers
    predicts correctly, if each of them is as probable for the first as for the second classifier.

    Reference: McNemar, "Note on the sampling error of the difference between correlated proportions", 1947.

    >>> mcnemar_p_value(1, 5)  # 2 (1 + 6) / 2^6
    0.21875
    """
    total, smaller = only_first + only_second, min(only_first, only_second)
    if 2 * smaller >= total:
        return 1.0
    # Logarithms: the binomial coefficients of a thousand images exceed float64.
    logs = [_log_binomial(total, k) - total * math.log(2) for k in range(smaller + 1)]
    # Rounded, because the logarithms of factorials are exact to about twelve digits.
    return min(1.0, float(f"{2 * math.fsum(map(math.exp, logs)):.10g}"))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for several comparisons, in the given order.

    Reference: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.asarray(p_values)[order] * factors)
    return np.minimum(1, adjusted).tolist()


def _log_binomial(total: int, k: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1)
