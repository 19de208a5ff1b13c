"""Areas under ROC and precision-recall curves, for many bootstrap samples at once.

Both areas are sums over the positive images, so that only the groups of equal scores with positive images are needed:
with a hundred classes, a hundredth of the images.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from transferkit.evaluation.classification import ratio
from transferkit.evaluation.outcomes import Outcomes


@dataclasses.dataclass(frozen=True, eq=False)
class RankedScores:
    """The images in the order of decreasing scores, cut into segments at the groups of equal scores with positives.

    Attributes:
        order: int (images,).
        segments: int (segments,), the start of each segment in `order`.
        groups: int (groups,), the segments with positive images.
        positives: int (positive images,), in the order of decreasing scores.
        starts: int (groups,), the start of each group in `positives`.
    """

    order: np.ndarray
    segments: np.ndarray
    groups: np.ndarray
    positives: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, positive: np.ndarray, scores: np.ndarray) -> RankedScores:
        """Rank bool labels (n,) and scores (n,), of which at least one is positive."""
        order = np.argsort(-scores)
        changes = np.append(True, np.diff(scores[order]) != 0)
        bounds = np.append(np.flatnonzero(changes), len(scores))
        group_of_positive = (np.cumsum(changes) - 1)[positive[order]]
        groups, starts = np.unique(group_of_positive, return_index=True)
        segments = np.unique(np.concatenate([[0], bounds[groups], bounds[groups + 1]]))
        segments = segments[segments < len(scores)]
        return cls(order, segments, np.searchsorted(segments, bounds[groups]), order[positive[order]], starts)

    def areas(self, weights: np.ndarray) -> np.ndarray:
        """Return (2, samples), ROC AUC and average precision, for weights (samples, images)."""
        sums = np.add.reduceat(np.take(weights, self.order, axis=1), self.segments, axis=1)
        gains = np.add.reduceat(weights[:, self.positives], self.starts, axis=1)
        through, true = np.cumsum(sums, axis=1), np.cumsum(gains, axis=1)
        positives, negatives = true[:, -1], through[:, -1] - true[:, -1]
        # Negative images with a lower score than the group, and half of those with an equal one.
        lower = negatives[:, None] - (through[:, self.groups] - true) + (sums[:, self.groups] - gains) / 2
        roc = ratio((gains * lower).sum(axis=1), positives * negatives)
        precision = ratio((gains * ratio(true, through[:, self.groups])).sum(axis=1), positives)
        return np.stack([np.where(positives * negatives > 0, roc, np.nan), np.where(positives > 0, precision, np.nan)])


def areas(positive: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Return ROC AUC (NaN without positive or without negative images) and average precision (NaN without positive)."""
    if not positive.any():
        return float("nan"), float("nan")
    roc_auc, average_precision = RankedScores.of(positive, scores).areas(np.ones((1, len(scores))))[:, 0]
    return float(roc_auc), float(average_precision)


class MeanAreas:
    """The means over the classes of ROC AUC and average precision, without those that are NaN."""

    def __init__(self, outcomes: Outcomes) -> None:
        columns = [(outcomes.positive(column), outcomes.probabilities[:, column]) for column in outcomes.scored_classes]
        self._ranked = [RankedScores.of(*column) for column in columns if column[0].any()]

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return (2, samples), NaN where all classes are, for weights (samples, images)."""
        if not self._ranked:
            return np.full((2, len(weights)), np.nan)
        values = np.stack([ranked.areas(weights) for ranked in self._ranked])
        defined = ~np.isnan(values)
        means = ratio(np.where(defined, values, 0).sum(axis=0), defined.sum(axis=0))
        return np.where(defined.any(axis=0), means, np.nan)


def mean_areas(outcomes: Outcomes) -> tuple[float, float]:
    """Return the means over the classes of ROC AUC and average precision."""
    roc_auc, average_precision = MeanAreas(outcomes)(np.ones((1, len(outcomes))))[:, 0]
    return float(roc_auc), float(average_precision)
