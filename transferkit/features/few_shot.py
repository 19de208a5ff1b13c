"""Class means and nearest neighbors of features of length 1, with scales that are best for images left out in turn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from transferkit.features.linear_probe import LinearProbe, RowSource

# Factors of cosines, from which the best is taken.
_SCALES = np.geomspace(2.0, 200.0, 41)
# With one image per class none can be left out.
_DEFAULT_SCALE = 20.0
# Images that take part in the choice of a scale, and rows that are read at a time.
_MAX_ROWS, _BLOCK_ROWS = 5000, 2048


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Return float64 rows of length 1; a row of zeros stays one.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    rows = np.asarray(features, np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def fit_prototypes(
    features: RowSource, labels: np.ndarray, num_classes: int, *, scale: float | None = None
) -> LinearProbe:
    """Return a probe of features of length 1, whose logits are `scale` times the cosines to the class means.

    Of two classes it is the difference. Without a scale, it is the one with the smallest cross-entropy when each image
    is left out of the mean of its class. A class without images has the logit 0.

    >>> probe = fit_prototypes(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]), 2, scale=10.0)
    >>> probe.kernel.ravel().tolist()
    [-10.0, 10.0]
    """
    sums = np.zeros((num_classes, features.shape[1]))
    for start in range(0, features.shape[0], _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        np.add.at(sums, labels[rows], unit_rows(features[rows]))
    if scale is None:
        chosen = unit_rows(features[:_MAX_ROWS])
        cosines, is_known = _left_out_cosines(chosen, labels[:_MAX_ROWS], sums)
        scale = _best_scale(lambda scale: scale * cosines[is_known], labels[:_MAX_ROWS][is_known])
    means = unit_rows(sums) * scale
    kernel = means.T if num_classes > 2 else (means[1:] - means[:1]).T
    return LinearProbe(kernel, np.zeros(kernel.shape[1]), 0.0)


def _left_out_cosines(features: np.ndarray, labels: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return cosines (n, classes) to the class means without the image, and which images have others of their class."""
    rows = np.arange(len(features))
    rest = sums[labels] - features
    cosines = features @ unit_rows(sums).T
    cosines[rows, labels] = np.einsum("nd,nd->n", features, unit_rows(rest))
    return cosines, np.linalg.norm(rest, axis=1) > 1e-9


def neighbor_scale(features: np.ndarray, labels: np.ndarray, num_classes: int, neighbors: int, vote: float) -> float:
    """Return the scale of cosines with the smallest cross-entropy when each image is predicted from the others.

    Args:
        features: (n, size), of length 1.
        labels: int (n,).
        num_classes: number of classes.
        neighbors: number of images that vote.
        vote: what each class has in addition to its votes, so that none has the probability 0.
    """
    if len(features) < 2:
        return _DEFAULT_SCALE
    cosines = features @ features.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : min(neighbors, len(features) - 1)]
    values, classes = np.take_along_axis(cosines, nearest, axis=1), np.eye(num_classes)[labels[nearest]]

    def logits(scale: float) -> np.ndarray:
        weights = np.exp(scale * (values - values.max(axis=1, keepdims=True)))
        return np.log(np.einsum("nk,nkc->nc", weights / weights.sum(axis=1, keepdims=True), classes) + vote)

    return _best_scale(logits, labels)


def _best_scale(logits: Callable[[float], np.ndarray], labels: np.ndarray) -> float:
    if not len(labels):
        return _DEFAULT_SCALE
    return float(min(_SCALES, key=lambda scale: _softmax_loss(logits(scale), labels)))


def _softmax_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    largest = logits.max(axis=1)
    totals = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
    return float(np.mean(totals - logits[np.arange(len(labels)), labels]))
