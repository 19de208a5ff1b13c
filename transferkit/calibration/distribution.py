"""Whether an image resembles the training images: the distance of its features to those of its nearest neighbors.

Of the distances that were measured (docs/prediction.md), this one separates other images best: better than the
Mahalanobis distance to the classes, and far better than the confidence.

Reference: Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", 2022, arXiv:2204.06507.
"""

from __future__ import annotations

import numpy as np

# By measurement, 1 to 10 are as good; more than one neighbor is not misled by a single odd training image.
NEIGHBORS = 5
# So many training images are enough, and take less than a millisecond per prediction.
MAX_IMAGES = 5000
_BLOCK = 1024


def unit_features(features: np.ndarray) -> np.ndarray:
    """Return features (n, size) scaled to length 1, float32."""
    features = np.asarray(features, np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.float32(1e-12))


def reference_features(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the features of at most 5,000 training images with length 1, float16, for a saved classifier."""
    if len(features) > MAX_IMAGES:
        chosen = np.random.default_rng(seed).choice(len(features), MAX_IMAGES, replace=False)
        features = features[np.sort(chosen)]
    return unit_features(features).astype(np.float16)


def neighbor_distances(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the cosine distance (n,) in [0, 2] of features (n, size) to the fifth nearest of `reference`.

    >>> neighbor_distances(np.array([[0.0, 2.0]]), np.eye(2)).tolist()
    [1.0]
    """
    reference = np.asarray(reference, np.float32)
    rank = min(NEIGHBORS, len(reference))
    blocks = []
    for start in range(0, len(features), _BLOCK):
        similarities = unit_features(features[start : start + _BLOCK]) @ reference.T
        blocks.append(1 - np.partition(similarities, -rank, axis=1)[:, -rank])
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def distance_threshold(distances: np.ndarray, fraction: float) -> float:
    """Return the smallest distance that at least `fraction` of the images do not exceed.

    >>> distance_threshold(np.array([0.1, 0.2, 0.3, 0.4]), 0.75)
    0.3
    """
    # Rounded, because 0.95 * 20 is larger than 19 in floating point.
    rank = max(1, int(np.ceil(round(fraction * len(distances), 9))))
    return float(np.sort(distances)[rank - 1])
