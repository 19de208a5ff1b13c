"""The outputs of a model of numbers: one number per image, in the unit of the labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from transferkit.calibration import Calibration
from transferkit.errors import DataError
from transferkit.evaluation.regression_report import RegressionReport
from transferkit.prediction.number_prediction import NumberPrediction
from transferkit.prediction.probabilities import check_not_nan
from transferkit.prediction.rows import number_columns
from transferkit.runtimes.base import VALUES


@dataclasses.dataclass(frozen=True)
class NumberOutputs:
    """Numbers as outputs; has the interface of `ClassOutputs`."""

    class_names: tuple[str, ...]
    activation: str | None
    calibration: Calibration | None
    units: int
    target = "number"
    name = VALUES
    multi_label = False
    thresholds = None

    def __post_init__(self) -> None:
        if self.class_names or self.units != 1:
            raise ValueError(
                "A model with the activation 'linear' must have one output and no `class_names`. Received: "
                f"{self.units} outputs and {len(self.class_names)} class names. Give class_names=()."
            )

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """Return the numbers (n, 1), float32, of a model's outputs (n, 1)."""
        return check_not_nan(outputs).astype(np.float32)

    def prediction(
        self, path: str | None, error: str | None, row: np.ndarray | None, distance: float | None
    ) -> NumberPrediction:
        """Return the prediction of one row of `values`."""
        value = None if row is None else float(row[0])
        return NumberPrediction(path, error, value, self.calibration, distance)

    def predicted_class(self, row: np.ndarray) -> int:
        """Return the index of the number among the outputs."""
        return 0

    def explained(self, row: np.ndarray, index: int) -> dict[str, Any]:
        """Return the number, as attributes of an `Explanation`."""
        return {"value": float(row[0])}

    def columns(self, probabilities: bool) -> list[str]:
        """Return the columns of a table of predictions."""
        return number_columns(self.calibration)

    def check_split(self, split: Any) -> None:
        """Raise a DataError when the labels of a split are classes."""
        if split.target != "number" and split.dataset is None:
            raise DataError(
                "`dataset` must have numbers as labels for this model. Received: classes. Build the data with "
                "target='number'."
            )

    def report(self, labels: np.ndarray, predictions: Sequence[Any], paths: Sequence[str] | None) -> RegressionReport:
        """Return the report of predictions of labeled images."""
        return RegressionReport(labels.reshape(-1), [one.value for one in predictions], paths=paths)

    def describe(self) -> str:
        """Return a few words for the representation of a predictor."""
        return "numbers"
