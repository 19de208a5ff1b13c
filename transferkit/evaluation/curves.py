"""ROC and precision-recall curves of one class against the rest, and their areas.

Areas are computed for rows of weights (samples, images): one row of ones for a report, or the number of times that each
image is in each bootstrap sample.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from transferkit.evaluation.classification import ratio
from transferkit.evaluation.outcomes import Outcomes


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RocCurve:
    """Receiver operating characteristic: one point per threshold, with equal scores in one point.

    Attributes:
        false_positive_rate: float (points,) in [0, 1], increasing; NaN without negative images.
        true_positive_rate: float (points,) in [0, 1], increasing; NaN without positive images.
        thresholds: float (points,), decreasing, the first one infinite: an image is positive from this probability on.
        area: float in [0, 1]; NaN without positive or without negative images.

    Reference: Fawcett, "An introduction to ROC analysis", 2006.
    """

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    thresholds: np.ndarray
    area: float

    def __repr__(self) -> str:
        return f"RocCurve(area={self.area:.4f}, {len(self.thresholds):,} points)"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PrecisionRecallCurve:
    """Precision and recall: one point per threshold, and a last point with precision 1 and recall 0.

    Attributes:
        precision: float (thresholds + 1,) in [0, 1].
        recall: float (thresholds + 1,) in [0, 1], decreasing; 1 at each threshold without positive images.
        thresholds: float (thresholds,), increasing: an image is positive from this probability on.
        average_precision: float in [0, 1], the sum of the precisions, each times the increase in recall; NaN without
            positive images.

    Reference: Davis and Goadrich, "The Relationship Between Precision-Recall and ROC Curves", 2006.
    """

    precision: np.ndarray
    recall: np.ndarray
    thresholds: np.ndarray
    average_precision: float

    def __repr__(self) -> str:
        return f"PrecisionRecallCurve(average_precision={self.average_precision:.4f}, {len(self.recall):,} points)"


def roc_curve(positive: np.ndarray, scores: np.ndarray) -> RocCurve:
    """Return the ROC curve of bool labels (n,) and scores (n,)."""
    false, true, thresholds = _cumulative_counts(positive, scores)
    rates = [_fraction_of_last(np.insert(counts[0], 0, 0)) for counts in (false, true)]
    return RocCurve(rates[0], rates[1], np.insert(thresholds, 0, np.inf), float(_roc_auc(false, true)[0]))


def precision_recall_curve(positive: np.ndarray, scores: np.ndarray) -> PrecisionRecallCurve:
    """Return the precision-recall curve of bool labels (n,) and scores (n,)."""
    false, true, thresholds = _cumulative_counts(positive, scores)
    precision = ratio(true[0], true[0] + false[0])
    # Without positive images recall is undefined; 1 is the convention of scikit-learn.
    recall = _fraction_of_last(true[0]) if true[0, -1] else np.ones(len(precision))
    area = float(_average_precision(false, true)[0])
    return PrecisionRecallCurve(np.append(precision[::-1], 1.0), np.append(recall[::-1], 0.0), thresholds[::-1], area)


def roc_auc(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the areas (samples,) under the ROC curves; NaN without positive or without negative images."""
    return _roc_auc(*_cumulative_counts(positive, scores, weights)[:2])


def average_precision(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the average precisions (samples,); NaN without positive images."""
    return _average_precision(*_cumulative_counts(positive, scores, weights)[:2])


def mean_areas(outcomes: Outcomes) -> tuple[float, float]:
    """Return the means over the classes of ROC AUC and average precision; each class is sorted once."""
    areas = []
    for column in outcomes.scored_classes:
        counts = _cumulative_counts(outcomes.positive(column), outcomes.probabilities[:, column])[:2]
        areas.append((_roc_auc(*counts), _average_precision(*counts)))
    roc_areas, precisions = mean_of_defined(np.array(areas)[:, :, 0])
    return float(roc_areas), float(precisions)


def mean_of_defined(areas: np.ndarray) -> np.ndarray:
    """Return the means (samples,) over the classes, the first axis, without those that are NaN; NaN if all are."""
    defined = ~np.isnan(areas)
    means = ratio(np.where(defined, areas, 0).sum(axis=0), defined.sum(axis=0))
    return np.where(defined.any(axis=0), means, np.nan)


def _cumulative_counts(
    positive: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the false and true positives (samples, thresholds) and the distinct scores, decreasing."""
    weights = np.ones((1, len(scores))) if weights is None else weights
    order = np.argsort(-scores)
    # The last image of each group of equal scores, so that ties are one threshold.
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    total = np.cumsum(weights[:, order], axis=1)[:, ends]
    true = np.cumsum(weights[:, order] * positive[order], axis=1)[:, ends]
    return total - true, true, scores[order][ends]


def _roc_auc(false: np.ndarray, true: np.ndarray) -> np.ndarray:
    steps = np.diff(false, axis=1, prepend=0)
    # Trapezoids: a positive and a negative image with equal scores count one half.
    heights = true - np.diff(true, axis=1, prepend=0) / 2
    pairs = false[:, -1] * true[:, -1]
    return np.where(pairs > 0, ratio((steps * heights).sum(axis=1), pairs), np.nan)


def _average_precision(false: np.ndarray, true: np.ndarray) -> np.ndarray:
    gains = np.diff(true, axis=1, prepend=0) * ratio(true, true + false)
    positives = true[:, -1]
    return np.where(positives > 0, ratio(gains.sum(axis=1), positives), np.nan)


def _fraction_of_last(counts: np.ndarray) -> np.ndarray:
    return counts / counts[-1] if counts[-1] else np.full(len(counts), np.nan)
