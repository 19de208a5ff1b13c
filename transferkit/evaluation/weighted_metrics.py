"""Metrics by name as functions of weights of the images, so that all samples of a bootstrap are computed at once."""

from __future__ import annotations

import re

import numpy as np

from transferkit._utils.checks import did_you_mean
from transferkit.evaluation.calibration_metrics import brier_scores, calibration_gaps
from transferkit.evaluation.classification import AVERAGES, METRICS, average_metrics, class_counts, in_top_k
from transferkit.evaluation.curve_areas import MeanAreas
from transferkit.evaluation.ordinal import ORDINAL_METRICS, ordinal_metric
from transferkit.evaluation.outcomes import Outcomes
from transferkit.evaluation.resampling import Statistic

_TOP_K = re.compile(r"top_([1-9]\d*)_accuracy")
_AVERAGED = {f"{average}_{metric}": (average, metric) for average in AVERAGES for metric in METRICS}
_AVERAGED["balanced_accuracy"] = ("balanced", "recall")
_MEANS = ("accuracy", "brier_score")
_AREAS = ("roc_auc", "average_precision")
METRIC_NAMES = (*_MEANS, *_AREAS, "calibration_error", "top_5_accuracy", *ORDINAL_METRICS, *_AVERAGED)


def weighted_metric(name: str, outcomes: Outcomes) -> Statistic:
    """Return a function from weights (samples, images) to the values (samples,) of a metric.

    Raises:
        ValueError: for an unknown name.
    """
    if name in _MEANS or (isinstance(name, str) and _TOP_K.fullmatch(name)):
        return _mean(_per_image(name, outcomes))
    if name in ORDINAL_METRICS:
        return ordinal_metric(name, outcomes)
    if name in _AREAS:
        mean_areas, which = MeanAreas(outcomes), _AREAS.index(name)
        return lambda weights: mean_areas(weights)[which]
    if name in _AVERAGED:
        average, metric = _AVERAGED[name]
        return lambda weights: average_metrics(class_counts(outcomes, weights))[average][metric]
    if name == "calibration_error":
        gaps, per_image = calibration_gaps(outcomes), outcomes.confidence.size / len(outcomes)
        return lambda weights: np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1) / per_image
    names = ", ".join(repr(known) for known in METRIC_NAMES)
    hint = did_you_mean(name, METRIC_NAMES) or "Give one of them, or a function of a report."
    raise ValueError(f"`metric` must be one of {names}. Received: {name!r}. {hint}")


def metric_value(name: str, outcomes: Outcomes) -> float:
    """Return the value of a metric."""
    return float(weighted_metric(name, outcomes)(np.ones((1, len(outcomes))))[0])


def _per_image(name: str, outcomes: Outcomes) -> np.ndarray:
    if name == "brier_score":
        return brier_scores(outcomes)
    found = _TOP_K.fullmatch(name)
    if found:
        return in_top_k(outcomes, int(found[1])).astype(float)
    return outcomes.correct.reshape(len(outcomes), -1).mean(axis=1)


def _mean(values: np.ndarray) -> Statistic:
    return lambda weights: weights @ values / weights.sum(axis=1)
