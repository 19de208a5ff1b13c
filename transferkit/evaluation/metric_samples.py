"""Values of a metric of a report, given by name or as a function, and of its bootstrap samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from transferkit.evaluation.report_metrics import ReportMetrics
from transferkit.evaluation.resampling import bootstrap
from transferkit.evaluation.weighted_metrics import metric_value, weighted_metric

# The name of a metric, or a function of a report.
Metric = str | Callable[[Any], float]


def metric_name(metric: Metric) -> str:
    """Return the name of a metric or function."""
    return metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)


def metric_of(report: ReportMetrics, metric: Metric) -> float:
    """Return the value of a metric of a report."""
    return float(metric(report)) if callable(metric) else metric_value(metric, report.outcomes)


def metric_samples(report: ReportMetrics, metric: Metric, samples: int, seed: int) -> np.ndarray:
    """Return the values of a metric of bootstrap samples (samples,)."""

    def of_each_sample(weights: np.ndarray) -> np.ndarray:
        images = np.arange(len(report.labels))
        return np.array([metric_of(report.subset(np.repeat(images, row.astype(int))), metric) for row in weights])

    statistic = of_each_sample if callable(metric) else weighted_metric(metric, report.outcomes)
    return bootstrap(statistic, len(report.labels), samples=samples, seed=seed)
