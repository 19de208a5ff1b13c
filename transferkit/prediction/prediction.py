"""The prediction for one image."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from transferkit._utils.checks import check_int
from transferkit._utils.tables import html_lines, html_table
from transferkit.calibration import Calibration
from transferkit.prediction.rows import column_names, short_float

_UNCALIBRATED = Calibration()


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction for one image.

    Attributes:
        path: str. The file, or None for arrays and bytes.
        error: str. Why there is no prediction, or None.
        class_names: tuple of str, in the order of `probability_array`.
        probability_array: float32 (classes,); None with an error.
        calibration: `Calibration` of the classifier, or None.
        distance: float in [0, 2], or None. Cosine distance of the features to those of the fifth nearest training
            image, where the classifier was calibrated with `in_distribution`.

    Example:

    >>> prediction = Prediction("a.jpg", None, ("cat", "dog"), np.array([0.9, 0.1], np.float32))
    >>> prediction.label, round(prediction.probability, 2)
    ('cat', 0.9)
    """

    path: str | None
    error: str | None
    class_names: tuple[str, ...]
    probability_array: np.ndarray | None
    calibration: Calibration | None = None
    distance: float | None = None

    @property
    def label(self) -> str | None:
        """The most probable class, of two classes the one on its side of a calibrated threshold; None with an error."""
        index = self._predicted_class()
        return None if index is None else self.class_names[index]

    @property
    def probability(self) -> float | None:
        """The probability of `label`, in [0, 1], or None with an error."""
        index = self._predicted_class()
        return None if self.probability_array is None or index is None else float(self.probability_array[index])

    @property
    def is_certain(self) -> bool | None:
        """Whether `probability` reaches the calibrated confidence; None without one, or with an error."""
        if self.calibration is None or self.calibration.min_confidence is None or self.probability is None:
            return None
        return self.probability >= self.calibration.min_confidence

    @property
    def in_distribution(self) -> bool | None:
        """Whether the image resembles the training images: `distance` is at most the calibrated one.

        None without a calibration of it, or with an error.
        """
        return None if self.calibration is None else self.calibration.in_distribution(self.distance)

    @property
    def label_set(self) -> tuple[str, ...] | None:
        """The plausible classes, with a calibrated coverage, or the independent labels that reach their thresholds.

        None without a calibration of these, or with an error.
        """
        if self.calibration is None or self.probability_array is None:
            return None
        indices = self.calibration.label_set(self.probability_array)
        return None if indices is None else tuple(self.class_names[index] for index in indices)

    @property
    def probabilities(self) -> dict[str, float]:
        """Class name to probability; empty with an error."""
        return {} if self.probability_array is None else dict(zip(self.class_names, map(float, self.probability_array)))

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """Return the `count` most probable (name, probability), best first.

        Args:
            count: int >= 1. Defaults to 5.
        """
        check_int("count", count)
        if self.probability_array is None:
            return []
        best = np.argsort(-self.probability_array, kind="stable")[:count]
        return [(self.class_names[index], float(self.probability_array[index])) for index in best]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        names = ["path", "label", "probability", "probabilities", "error"]
        names += ["is_certain", "label_set", "in_distribution"] if self.calibration is not None else []
        values = {name: getattr(self, name) for name in names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def _columns(self) -> list[str]:
        return column_names(self.class_names, self.calibration)

    def _row(self) -> dict[str, Any]:
        """Return the value of each column of a table; None where there is none."""
        values, scores = self.to_dict(), self.probability_array
        values["probability"] = None if scores is None else short_float(self.probability)
        numbers = {} if scores is None else dict(zip(self.class_names, map(short_float, scores)))
        del values["probabilities"]
        return {**values, **{f"p({name})": numbers.get(name) for name in self.class_names}}

    def _cells(self) -> dict[str, str]:
        """Return the cells of a printed table, by column."""
        if self.label is None:
            return {"label": f"error: {self.error}", "probability": ""}
        return {"label": self.label, "probability": f"{self.probability:.4f}"}

    def _predicted_class(self) -> int | None:
        if self.probability_array is None:
            return None
        return (self.calibration or _UNCALIBRATED).predicted_class(self.probability_array)

    def __repr__(self) -> str:
        text = f"error={self.error!r}" if self.error else f"label={self.label!r}, probability={self.probability:.4f}"
        return f"Prediction({text}, path={self.path!r})"

    def _repr_html_(self) -> str:
        name = [] if self.path is None else [self.path]
        if self.error is not None:
            return html_lines([*name, f"error: {self.error}"])
        rows = [[label, f"{probability:.4f}"] for label, probability in self.top()]
        return html_lines(name) + html_table(rows, ["class", "probability"])
