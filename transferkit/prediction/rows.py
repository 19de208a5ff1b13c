"""Predictions as rows of a table: CSV and JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from transferkit._utils.tables import csv_line
from transferkit.calibration import Calibration


def column_names(
    class_names: Sequence[str], calibration: Calibration | None, *, probabilities: bool = True
) -> list[str]:
    """Return the columns of a table of predictions."""
    calibrated = ["is_certain", "label_set", "in_distribution"] if calibration is not None else []
    classes = [f"p({name})" for name in class_names] if probabilities else []
    return ["path", "label", "probability", *calibrated, "error", *classes]


def number_columns(calibration: Calibration | None) -> list[str]:
    """Return the columns of a table of predicted numbers."""
    has_distance = calibration is not None and calibration.max_distance is not None
    return ["path", "value", "low", "high", *(["in_distribution"] if has_distance else []), "error"]


def csv_row(values: Sequence[Any]) -> bytes:
    """Return one line of a CSV file; lists are JSON, None is empty."""
    return csv_line([_csv_text(value) for value in values])


def json_line(row: dict[str, Any]) -> bytes:
    """Return one line of a JSON Lines file."""
    return json.dumps(row).encode("ascii") + b"\n"


def _csv_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, list) else str(value)


def short_float(value: Any) -> float:
    """Return the float with the shortest text that is the same float32: half as long as that of a float64."""
    return float(str(np.float32(value)))
