"""The outputs of a classifier: logits or probabilities of classes."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from transferkit.calibration import Calibration
from transferkit.data.numbers import require_classes
from transferkit.errors import DataError
from transferkit.evaluation.report import Report
from transferkit.prediction.prediction import Prediction
from transferkit.prediction.probabilities import to_probabilities
from transferkit.prediction.rows import column_names
from transferkit.runtimes.base import PROBABILITIES

_UNCALIBRATED = Calibration()
# The smallest probability in the logarithm of the loss, as in Keras.
_EPSILON = 1e-7


@dataclasses.dataclass(frozen=True)
class ClassOutputs:
    """What the outputs of a classifier mean.

    Attributes:
        class_names: in the order of the outputs.
        activation: "sigmoid", "softmax" or None.
        calibration: of the probabilities, or None.
        units: number of outputs.
        target: "class", as of `DatasetBuilder`.
        name: of the output of an exported model.
    """

    class_names: tuple[str, ...]
    activation: str | None
    calibration: Calibration | None
    units: int
    target = "class"
    name = PROBABILITIES

    def __post_init__(self) -> None:
        count = len(self.class_names)
        expected = 1 if self.activation == "sigmoid" and count == 2 and self.units == 1 else count
        if self.units != expected:
            raise ValueError(
                f"`class_names` must name each output of the model. Received: {count} names for {self.units} outputs. "
                "Give the names of the training data, in their order."
            )

    @property
    def multi_label(self) -> bool:
        """Whether an image can have any number of labels."""
        return self.activation == "sigmoid" and self.units > 1

    @property
    def thresholds(self) -> tuple[float, ...] | None:
        """The calibrated thresholds of labels, or None."""
        return None if self.calibration is None else self.calibration.thresholds

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """Return the calibrated probabilities (n, classes), float32, of a model's outputs (n, units)."""
        scaled = (self.calibration or _UNCALIBRATED).scale(outputs)
        return to_probabilities(scaled, self.activation, len(self.class_names))

    def prediction(
        self, path: str | None, error: str | None, row: np.ndarray | None, distance: float | None
    ) -> Prediction:
        """Return the prediction of one row of `values`; None with an error."""
        return Prediction(path, error, self.class_names, row, self.calibration, distance)

    def predicted_class(self, row: np.ndarray) -> int:
        """Return the index of the predicted class of one row of `values`."""
        return (self.calibration or _UNCALIBRATED).predicted_class(row)

    def explained(self, row: np.ndarray, index: int) -> dict[str, Any]:
        """Return a class of one row of `values` and its probability, as attributes of an `Explanation`."""
        return {"class_name": self.class_names[index], "probability": float(row[index])}

    def columns(self, probabilities: bool) -> list[str]:
        """Return the columns of a table of predictions."""
        return column_names(self.class_names, self.calibration, probabilities=probabilities)

    def check_split(self, split: Any) -> None:
        """Raise a DataError when the classes of a split are not those of the classifier."""
        require_classes(split, "Evaluation of a classifier")
        if split.class_names and tuple(split.class_names) != self.class_names:
            raise DataError(
                "`dataset` must have the classes of the classifier, in their order. Received: "
                f"{_names(split.class_names)}, and the classifier has {_names(self.class_names)}. Build the data "
                "with class_names=."
            )

    def report(self, labels: np.ndarray, predictions: Sequence[Any], paths: Sequence[str] | None) -> Report:
        """Return the report of predictions of labeled images."""
        probabilities = np.array([one.probability_array for one in predictions], np.float64)
        labels = self._report_labels(labels)
        return Report(
            labels,
            probabilities,
            class_names=self.class_names,
            loss=_cross_entropy(labels, probabilities),
            paths=paths,
            thresholds=self.thresholds,
        )

    def describe(self) -> str:
        """Return a few words for the representation of a predictor."""
        return f"{len(self.class_names)} classes"

    def _report_labels(self, labels: np.ndarray) -> np.ndarray:
        """Return labels (n,), or 0/1 (n, classes) for independent labels."""
        if self.multi_label:
            return labels.astype(int)
        if labels.ndim == 2 and labels.shape[1] > 1:
            return labels.argmax(axis=1)
        return labels.reshape(-1).astype(int)


def _cross_entropy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    bounded = np.clip(probabilities, _EPSILON, 1 - _EPSILON)
    if labels.ndim == 1:
        return float(-np.log(bounded[np.arange(len(labels)), labels]).mean())
    return float(-np.where(labels == 1, np.log(bounded), np.log(1 - bounded)).mean())


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(repr(name) for name in itertools.islice(names, 5))
    return f"[{shown}{', ...' if len(names) > 5 else ''}]"
