"""The value of a metric of predictions, with its interval."""

from __future__ import annotations

import numpy as np

from transferkit.calibration.temperature import shrunk_temperature
from transferkit.evaluation.metric_samples import metric_of
from transferkit.evaluation.report import Report
from transferkit.evaluation.resampling import ConfidenceInterval, wilson_interval
from transferkit.features.linear_probe import log_loss
from transferkit.prediction.probabilities import to_probabilities

# Metrics that are better the larger they are.
METRICS = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "weighted_f1",
    "micro_f1",
    "macro_precision",
    "macro_recall",
    "roc_auc",
    "average_precision",
    "top_5_accuracy",
)


def calibrated(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return logits divided by the temperature with the smallest cross-entropy."""
    return logits / shrunk_temperature(logits, labels)


def report_of(logits: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]) -> Report:
    """Return the report of logits (n, units)."""
    is_sigmoid = labels.ndim == 2 or logits.shape[1] == 1
    probabilities = to_probabilities(logits, "sigmoid" if is_sigmoid else "softmax", len(class_names))
    return Report(labels, probabilities, class_names=class_names)


def score(report: Report, metric: str) -> float:
    """Return the value of a metric."""
    return metric_of(report, metric)


def interval(report: Report, metric: str, seed: int) -> ConfidenceInterval:
    """Return the 95 % interval of a metric.

    Of the accuracy it is Wilson's, which has a width for 100 % too; the bootstrap has none there.
    """
    if metric == "accuracy" and not report.multi_label:
        return wilson_interval(report.accuracy, len(report.labels))
    return report.confidence_interval(metric, seed=seed)


def loss_of(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean cross-entropy."""
    return log_loss(logits, labels, 2 if logits.shape[1] == 1 else logits.shape[1])
