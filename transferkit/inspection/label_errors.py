"""Which labels are probably wrong: confident learning on leave-one-out scores.

Reference: Northcutt et al., "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021, arXiv:1911.00068.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class LabelScores(NamedTuple):
    """The label of each image compared with the most probable other one.

    Attributes:
        suggested: int (n,), the most probable class other than the given label.
        suspicion: float (n,) in [0, 1], (1 - margin) / 2.
        is_confident: bool (n,), whether another class is as probable as for the images that have it as label.
    """

    suggested: np.ndarray
    suspicion: np.ndarray
    is_confident: np.ndarray


def score_labels(scores: np.ndarray, labels: np.ndarray) -> LabelScores:
    """Return the label scores for the scores (n, classes) of all classes, and the labels int (n,).

    >>> result = score_labels(np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]]), np.array([0, 1, 0]))
    >>> result.suggested.tolist(), result.suspicion.round(2).tolist(), result.is_confident.tolist()
    ([1, 0, 1], [0.1, 0.2, 0.9], [False, False, True])
    """
    rows = np.arange(len(labels))
    probabilities = np.clip(scores, 0, None)
    probabilities = probabilities / np.maximum(probabilities.sum(axis=1, keepdims=True), 1e-12)
    given = probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = -1
    suggested = others.argmax(axis=1)
    margin = given - others[rows, suggested]
    # A class may have no image.
    counts = np.bincount(labels, minlength=scores.shape[1])
    means = np.bincount(labels, given, scores.shape[1]) / np.maximum(counts, 1)
    thresholds = np.where(counts > 0, means, np.inf)
    candidates = np.where(probabilities >= thresholds, probabilities, -1)
    is_confident = (candidates.max(axis=1) >= 0) & (candidates.argmax(axis=1) != labels)
    return LabelScores(suggested, (1 - margin) / 2, is_confident)
