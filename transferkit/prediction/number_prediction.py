"""The predicted number of one image."""

from __future__ import annotations

import dataclasses
from typing import Any

from transferkit._utils.tables import html_lines, html_table
from transferkit.calibration import Calibration
from transferkit.prediction.rows import number_columns, short_float

_HEADER = ["value", "low", "high"]


@dataclasses.dataclass(frozen=True, eq=False)
class NumberPrediction:
    """The predicted number of one image, in the unit of the training labels.

    Attributes:
        path: str. The file, or None for arrays and bytes.
        error: str. Why there is no prediction, or None.
        value: float, or None with an error.
        calibration: `Calibration` of the model, or None.
        distance: float in [0, 2], or None. Cosine distance of the features to those of the fifth nearest training
            image, where the model was calibrated with `in_distribution`.

    Example:

    >>> prediction = NumberPrediction("a.jpg", None, 30.5, Calibration(half_width=2.5, coverage=0.9))
    >>> prediction.value, prediction.low, prediction.high
    (30.5, 28.0, 33.0)
    """

    path: str | None
    error: str | None
    value: float | None
    calibration: Calibration | None = None
    distance: float | None = None
    # No field: it is the target of each predictor of numbers.
    target = "number"

    @property
    def low(self) -> float | None:
        """The lower end of the calibrated interval; None without one, or with an error."""
        return self._end(-1)

    @property
    def high(self) -> float | None:
        """The upper end of the calibrated interval; None without one, or with an error."""
        return self._end(1)

    @property
    def in_distribution(self) -> bool | None:
        """Whether the image resembles the training images: `distance` is at most the calibrated one.

        None without a calibration of it, or with an error.
        """
        return None if self.calibration is None else self.calibration.in_distribution(self.distance)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {name: getattr(self, name) for name in self._columns()}

    def _end(self, sign: int) -> float | None:
        if self.value is None or self.calibration is None or self.calibration.half_width is None:
            return None
        return self.value + sign * self.calibration.half_width

    def _columns(self) -> list[str]:
        return number_columns(self.calibration)

    def _row(self) -> dict[str, Any]:
        values = self.to_dict()
        return {**values, **{name: None if values[name] is None else short_float(values[name]) for name in _HEADER}}

    def _cells(self) -> dict[str, str]:
        """Return the cells of a printed table, by column."""
        values = {name: getattr(self, name) for name in _HEADER}
        shown = {name: "" if value is None else f"{value:.5g}" for name, value in values.items()}
        return shown if self.error is None else {**shown, "value": f"error: {self.error}"}

    def __repr__(self) -> str:
        interval = "" if self.low is None or self.high is None else f", low={self.low:.5g}, high={self.high:.5g}"
        text = f"error={self.error!r}" if self.value is None else f"value={self.value:.5g}{interval}"
        return f"NumberPrediction({text}, path={self.path!r})"

    def _repr_html_(self) -> str:
        name = [] if self.path is None else [self.path]
        if self.error is not None:
            return html_lines([*name, f"error: {self.error}"])
        return html_lines(name) + html_table([list(self._cells().values())], _HEADER)
