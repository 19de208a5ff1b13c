"""Leave-one-out predictions of a linear probe, in closed form.

Each image is predicted by a ridge regression to one-hot labels that was fitted to all other images. One eigenvalue
decomposition gives these predictions for every strength of the regularization; nothing is fitted n times.

Reference: Rifkin and Lippert, "Notes on Regularized Least Squares", 2007.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from transferkit.calibration.distribution import unit_features

# Strengths, relative to features with squared length 1 on average.
_GRID = (0.03, 0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
# Wrong labels make the best strength for them too weak to find them; by measurement, see docs/inspection.md.
_NOISE_FACTOR = 2.0


class Decomposition(NamedTuple):
    """Eigenvectors (n, rank) of the products of all pairs of rows of features, and their eigenvalues (rank,)."""

    vectors: np.ndarray
    values: np.ndarray


def leave_one_out_scores(features: np.ndarray, labels: np.ndarray, num_classes: int, groups: np.ndarray) -> np.ndarray:
    """Return a score (n, num_classes) of each class, about its probability, by the images outside of the own group.

    Args:
        features: (n, size).
        labels: int (n,).
        num_classes: number of classes.
        groups: int (n,). Images of one group, such as copies, are left out together.
    """
    decomposition = _decompose(_standardized(features))
    targets = np.eye(num_classes)[labels]
    errors = [np.mean(_residuals(decomposition, targets, strength, ()) ** 2) for strength in _GRID]
    strength = _NOISE_FACTOR * _GRID[int(np.argmin(errors))]
    return targets - _residuals(decomposition, targets, strength, _members(groups))


def _standardized(features: np.ndarray) -> np.ndarray:
    """Return features of length 1 with mean 0 and equal variances, whose rows have about length 1."""
    rows = unit_features(features).astype(np.float64)
    scale = rows.std(axis=0)
    scale[scale < 1e-9 * max(scale.max(), 1e-300)] = np.inf
    return (rows - rows.mean(axis=0)) / scale / np.sqrt(max(1, int(np.isfinite(scale).sum())))


def _decompose(rows: np.ndarray) -> Decomposition:
    count, size = rows.shape
    if count <= size:
        values, vectors = np.linalg.eigh(rows @ rows.T)
        return Decomposition(vectors, np.maximum(values, 0))
    values, directions = np.linalg.eigh(rows.T @ rows)
    kept = values > 1e-10 * values.max(initial=1e-300)
    return Decomposition(rows @ directions[:, kept] / np.sqrt(values[kept]), values[kept])


def _residuals(
    decomposition: Decomposition, targets: np.ndarray, strength: float, groups: Sequence[np.ndarray]
) -> np.ndarray:
    """Return targets minus predictions (n, columns), each without its own image, or without its group."""
    vectors, values = decomposition
    shrinkage = values / (values + strength)
    centered = targets - targets.mean(axis=0)
    residuals = centered - vectors @ (shrinkage[:, None] * (vectors.T @ centered))
    # The mean of the targets is fitted too.
    own = (vectors**2) @ shrinkage + 1 / len(targets)
    left_out = residuals / np.maximum(1 - own, 1e-9)[:, None]
    for members in groups:
        part = vectors[members]
        influence = (part * shrinkage) @ part.T + 1 / len(targets)
        matrix = np.eye(len(members)) - influence
        left_out[members] = np.linalg.lstsq(matrix, residuals[members], rcond=None)[0]
    return left_out


def _members(groups: np.ndarray) -> list[np.ndarray]:
    """Return the images of each group of more than one."""
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return [part for part in parts if len(part) > 1]
