"""The ROC and precision-recall curves that a figure of a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from transferkit.evaluation.curves import precision_recall_curve, roc_curve
from transferkit.evaluation.outcomes import Outcomes
from transferkit.evaluation.report_text import short_name

if TYPE_CHECKING:
    from transferkit.plots import Curve

MAX_CURVES = 10
_ROC = ("ROC curves, with areas", "False positive rate", "True positive rate")
_PRECISION_RECALL = ("Precision-recall curves, with average precisions", "Recall", "Precision")


def curve_panels(outcomes: Outcomes, names: Sequence[str]) -> dict[tuple[str, str, str], list[Curve]]:
    """Return the curves of each panel by its title and the labels of its axes, the smallest area first.

    Curves whose area is NaN are left out; of more than ten, those with the smallest areas remain.
    """
    panels: dict[tuple[str, str, str], list[Curve]] = {}
    for labels, make in ((_ROC, _roc), (_PRECISION_RECALL, _precision_recall)):
        curves = [(names[column], *make(*_scores(outcomes, column))) for column in outcomes.scored_classes]
        curves = sorted((curve for curve in curves if not np.isnan(curve[3])), key=lambda curve: curve[3])
        panels[labels] = [(f"{area:.3f} {short_name(name)}", x, y) for name, x, y, area in curves[:MAX_CURVES]]
    return panels


def _scores(outcomes: Outcomes, column: int) -> tuple[np.ndarray, np.ndarray]:
    return outcomes.positive(column), outcomes.probabilities[:, column]


def _roc(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    curve = roc_curve(positive, scores)
    return curve.false_positive_rate, curve.true_positive_rate, curve.area


def _precision_recall(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    curve = precision_recall_curve(positive, scores)
    return curve.recall, curve.precision, curve.average_precision
