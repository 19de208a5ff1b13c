"""Predictions as rows of a table: CSV and JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from transferkit._utils.tables import csv_line
from transferkit.calibration import Calibration
from transferkit.prediction.prediction import Prediction


def column_names(
    class_names: Sequence[str], calibration: Calibration | None, *, probabilities: bool = True
) -> list[str]:
    """Return the columns of a table of predictions."""
    calibrated = ["is_certain", "label_set", "in_distribution"] if calibration is not None else []
    classes = [f"p({name})" for name in class_names] if probabilities else []
    return ["path", "label", "probability", *calibrated, "error", *classes]


def row_values(prediction: Prediction) -> dict[str, Any]:
    """Return the value of each column; None where there is none."""
    values = prediction.to_dict()
    # The shortest text that is the same float32: half as long as that of a float64.
    scores = prediction.probability_array
    values["probability"] = None if scores is None else _short(prediction.probability)
    numbers = {} if scores is None else dict(zip(prediction.class_names, map(_short, scores)))
    del values["probabilities"]
    return {**values, **{f"p({name})": numbers.get(name) for name in prediction.class_names}}


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


def _short(value: Any) -> float:
    return float(str(np.float32(value)))
