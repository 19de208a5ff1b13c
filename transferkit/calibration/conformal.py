"""Prediction sets that contain the true label with a stated probability."""

from __future__ import annotations

import math

import numpy as np


def conformal_threshold(probabilities: np.ndarray, coverage: float) -> float | None:
    """Return the probability from which a class is in the set, or None with too few images for the coverage.

    `probabilities` are those of the true labels, float (n,). For a new image from the same source, the set contains the
    true label with a probability of at least `coverage`, and of at most 1 / (n + 1) more.

    >>> conformal_threshold(np.array([0.1, 0.5, 0.6, 0.7, 0.8, 0.8, 0.9, 0.9, 0.9]), 0.8)
    0.5

    Reference: Sadinle et al., "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels", 2019,
    arXiv:1609.00451.
    """
    count = len(probabilities)
    # Rounded, because 0.9 * 10 is larger than 9 in floating point.
    rank = math.ceil(round((count + 1) * coverage, 9))
    return None if rank > count else float(np.sort(probabilities)[count - rank])


def conformal_half_width(residuals: np.ndarray, coverage: float) -> float | None:
    """Return half of the width of intervals of predicted numbers, or None with too few images for the coverage.

    `residuals` are those of images that were not trained on, float (n,). The interval of a new image from the same
    source contains the true number with a probability of at least `coverage`, and of at most 1 / (n + 1) more.

    >>> conformal_half_width(np.array([1, -2, 3, -4, 5, -6, 7, -8, 9]), 0.8)
    8.0

    Reference: Lei et al., "Distribution-Free Predictive Inference for Regression", 2018, arXiv:1604.04173.
    """
    threshold = conformal_threshold(-np.abs(residuals), coverage)
    return None if threshold is None else -threshold


def fewest_images(coverage: float) -> int:
    """Return the number of images that a coverage needs.

    >>> fewest_images(0.9), fewest_images(0.95)
    (9, 19)
    """
    return math.ceil(round(coverage / (1 - coverage), 9))
