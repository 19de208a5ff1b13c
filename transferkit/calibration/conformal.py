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


def fewest_images(coverage: float) -> int:
    """Return the number of images that a coverage needs.

    >>> fewest_images(0.9), fewest_images(0.95)
    (9, 19)
    """
    return math.ceil(round(coverage / (1 - coverage), 9))
