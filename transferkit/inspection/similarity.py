"""Pairs of similar images, and images without similar ones, by the cosine of their features."""

from __future__ import annotations

import numpy as np

from transferkit._utils.groups import UnionFind
from transferkit.calibration.distribution import unit_features

# Rows per block: a block of products of 20,000 images takes 80 MB.
_BLOCK = 1024
NEIGHBORS = 5
# Of the distance to the fifth nearest image: by measurement, copies are below and other images above it.
_COPY_FRACTION = 1 / 3
_MAX_GROUP = 10
# More pairs than this per image are not listed: that many copies are found by one of them.
_MAX_PAIRS_PER_IMAGE = 20


def near_duplicate_pairs(features: np.ndarray, threshold: float) -> list[tuple[int, int, float]]:
    """Return pairs (first, second, cosine) with a cosine of at least `threshold`, the most similar first.

    >>> near_duplicate_pairs(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]]), 0.9)
    [(0, 2, 1.0)]
    """
    rows = unit_features(features)
    pairs = []
    for start in range(0, len(rows), _BLOCK):
        cosines = rows[start : start + _BLOCK] @ rows[start:].T
        for first, second in np.argwhere(np.triu(cosines >= threshold, k=1)):
            pairs.append((start + int(first), start + int(second), float(cosines[first, second])))
        if len(pairs) > _MAX_PAIRS_PER_IMAGE * len(rows):
            break
    return sorted(pairs, key=lambda pair: -pair[2])


def duplicate_threshold(distances: np.ndarray, similarity: float) -> float:
    """Return the cosine from which two images are near duplicates: `similarity`, or more where all images are similar.

    `distances` are those of `outlier_distances`. In images of one kind, such as scans, different ones have a cosine
    above 0.9 too; copies are much closer than neighbors usually are.
    """
    return max(similarity, 1 - _COPY_FRACTION * float(np.median(distances)))


def group_pairs(pairs: list[tuple[int, int, float]], count: int) -> np.ndarray:
    """Return int (count,), equal numbers for images that pairs connect; large groups are no copies, and are split."""
    sets: UnionFind[int] = UnionFind()
    for first, second, _ in pairs:
        sets.union(first, second)
    groups = np.array([sets.find(index) for index in range(count)], int)
    is_large = np.bincount(groups, minlength=count)[groups] > _MAX_GROUP
    return np.where(is_large, count + np.arange(count), groups)


def outlier_distances(features: np.ndarray) -> np.ndarray:
    """Return the cosine distance (n,) of each image to the fifth nearest other one; 0 with a single image."""
    rows = unit_features(features)
    rank = min(NEIGHBORS, len(rows) - 1)
    if rank < 1:
        return np.zeros(len(rows))
    distances = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        cosines = rows[start : start + _BLOCK] @ rows.T
        cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = -np.inf
        distances[start : start + _BLOCK] = 1 - np.partition(cosines, -rank, axis=1)[:, -rank]
    return distances


def robust_scores(values: np.ndarray) -> np.ndarray:
    """Return by how many standard deviations values differ from the median; both are robust estimates.

    The standard deviation is estimated by the median of the absolute deviations, or by their mean where half of the
    values are equal; all scores are 0 where all values are.

    >>> robust_scores(np.array([1.0, 2.0, 3.0, 4.0, 100.0])).round(1).tolist()
    [-1.3, -0.7, 0.0, 0.7, 65.4]

    Reference: Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993.
    """
    differences = values - np.median(values)
    deviation = 1.4826 * np.median(np.abs(differences)) or 1.2533 * np.abs(differences).mean()
    return differences / deviation if deviation > 0 else np.zeros(len(values))
