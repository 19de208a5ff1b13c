"""ROC and precision-recall curves of one class against the rest."""

from __future__ import annotations

import dataclasses

import numpy as np

from transferkit.evaluation.classification import ratio
from transferkit.evaluation.curve_areas import areas


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
    rates = [_fraction_of_last(np.insert(counts, 0, 0)) for counts in (false, true)]
    return RocCurve(rates[0], rates[1], np.insert(thresholds, 0, np.inf), areas(positive, scores)[0])


def precision_recall_curve(positive: np.ndarray, scores: np.ndarray) -> PrecisionRecallCurve:
    """Return the precision-recall curve of bool labels (n,) and scores (n,)."""
    false, true, thresholds = _cumulative_counts(positive, scores)
    precision = ratio(true, true + false)
    # Without positive images recall is undefined; 1 is the convention of scikit-learn.
    recall = _fraction_of_last(true) if true[-1] else np.ones(len(precision))
    precision, recall = np.append(precision[::-1], 1.0), np.append(recall[::-1], 0.0)
    return PrecisionRecallCurve(precision, recall, thresholds[::-1], areas(positive, scores)[1])


def _cumulative_counts(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the false and true positives (thresholds,) and the distinct scores, decreasing."""
    order = np.argsort(-scores)
    # The last image of each group of equal scores, so that ties are one threshold.
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true = np.cumsum(positive[order])[ends]
    return ends + 1 - true, true, scores[order][ends]


def _fraction_of_last(counts: np.ndarray) -> np.ndarray:
    return counts / counts[-1] if counts[-1] else np.full(len(counts), np.nan)
