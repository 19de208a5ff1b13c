"""A report as plain values, JSON and columns of a table."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from transferkit._utils.files import atomic_write
from transferkit.evaluation.curve_areas import mean_areas
from transferkit.evaluation.report_metrics import ReportMetrics


def report_dict(report: ReportMetrics) -> dict[str, Any]:
    """Return the metrics as a dict of plain values; None for an area that is NaN."""
    areas = dict(zip(("roc_auc", "average_precision"), mean_areas(report.outcomes)))
    return {
        "images": len(report.labels),
        "accuracy": report.accuracy,
        "balanced_accuracy": report.balanced_accuracy,
        "loss": report.loss,
        **{name: None if math.isnan(area) else area for name, area in areas.items()},
        "calibration_error": report.calibration_error,
        "brier_score": report.brier_score,
        "averages": report.averages,
        "class_names": list(report.class_names),
        "confusion_matrix": report.confusion_matrix.tolist(),
        "per_class": report.per_class,
    }


def write_json(values: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a dict to a JSON file, in which a loss that is not finite is null."""
    values = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, allow_nan=False), encoding="utf-8")


def report_columns(report: ReportMetrics) -> dict[str, Sequence[Any]]:
    """Return columns of a table with one row per image."""
    columns: dict[str, Sequence[Any]] = {} if report.paths is None else {"path": report.paths}
    names = report.class_names
    for column, labels in (("true_label", report.labels), ("predicted_label", report.predictions)):
        columns[column] = [_label(label, names) for label in labels]
    if not report.multi_label:
        columns["confidence"] = report.probabilities[np.arange(len(report.labels)), report.predictions].tolist()
    columns["correct"] = (report.predictions == report.labels).reshape(len(report.labels), -1).all(axis=1).tolist()
    return {**columns, **{f"p({name})": values.tolist() for name, values in zip(names, report.probabilities.T)}}


def _label(label: np.ndarray, names: Sequence[str]) -> str | tuple[str, ...]:
    if label.ndim:
        return tuple(names[index] for index in np.flatnonzero(label).tolist())
    return names[int(label)]
