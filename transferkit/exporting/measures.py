"""How the outputs of an exported model are compared with those of Keras: probabilities and labels, or numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from transferkit.head import unit_layer, unit_scale
from transferkit.prediction import Predictor

# Classes with probabilities this close are a tie, in which either label is right.
_TIE = 2e-5
# Differences of float32 are relative to the number, which can be far larger than the deviation of the labels.
_MIN_SCALE = 0.01


class ClassMeasures:
    """Compares probabilities (n, classes).

    Args:
        predictor: of classes.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def scale(self, expected: np.ndarray) -> float:
        """Return what differences are relative to."""
        return 1.0

    def label_agreement(self, expected: np.ndarray, actual: np.ndarray) -> float | None:
        """Return the fraction of equal labels, or of equal decisions on independent labels."""
        return float(np.mean(self._labels_agree(expected, actual)))

    def scores(self, expected: np.ndarray, actual: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """Return the metrics on labeled images, by the names in `Verification`."""
        return {"accuracy": self._accuracy(actual, labels), "keras_accuracy": self._accuracy(expected, labels)}

    def _labels_agree(self, expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
        if self._predictor.multi_label:
            thresholds = self._thresholds(expected)
            close = np.abs(expected - thresholds) <= _TIE
            return ((expected >= thresholds) == (actual >= thresholds)) | close
        before, after = self._predicted(expected), self._predicted(actual)
        rows = np.arange(len(expected))
        return (before == after) | (np.abs(expected[rows, before] - expected[rows, after]) <= _TIE)

    def _predicted(self, probabilities: np.ndarray) -> np.ndarray:
        calibration = self._predictor.calibration
        if calibration is None:
            return probabilities.argmax(axis=1)
        return np.array([calibration.predicted_class(row) for row in probabilities])

    def _accuracy(self, probabilities: np.ndarray, labels: np.ndarray) -> float:
        if self._predictor.multi_label:
            return float(np.mean((probabilities >= self._thresholds(probabilities)) == (labels == 1)))
        true = labels.argmax(axis=1) if labels.ndim == 2 else labels
        return float(np.mean(self._predicted(probabilities) == true))

    def _thresholds(self, probabilities: np.ndarray) -> np.ndarray:
        return np.array(self._predictor.thresholds or [0.5] * probabilities.shape[1])


class NumberMeasures:
    """Compares numbers (n, 1), relative to the standard deviation of the training labels; as `ClassMeasures`.

    Args:
        predictor: of numbers.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def scale(self, expected: np.ndarray) -> float:
        has_unit = unit_layer(self._predictor.model) is not None
        deviation = unit_scale(self._predictor.model) if has_unit else float(expected.std())
        return max(deviation, _MIN_SCALE * float(np.abs(expected).max())) or 1.0

    def label_agreement(self, expected: np.ndarray, actual: np.ndarray) -> float | None:
        return None

    def scores(self, expected: np.ndarray, actual: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        errors = (float(np.abs(values[:, 0] - labels.reshape(-1)).mean()) for values in (actual, expected))
        return dict(zip(("mean_absolute_error", "keras_mean_absolute_error"), errors))


def measures_of(predictor: Predictor) -> ClassMeasures | NumberMeasures:
    """Return the measures for what a predictor predicts."""
    return NumberMeasures(predictor) if predictor.target == "number" else ClassMeasures(predictor)
