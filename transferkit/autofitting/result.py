"""The result of `autofit`: a classifier, its leaderboard and its report."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from transferkit.autofitting.leaderboard import Leaderboard, LeaderboardRow
from transferkit.evaluation.report import Report
from transferkit.evaluation.resampling import ConfidenceInterval
from transferkit.prediction import Predictor
from transferkit.saving import TrainingDescription, save_classifier


@dataclasses.dataclass(frozen=True, repr=False)
class AutoFit:
    """The classifier that `autofit` chose, with everything that it compared.

    Attributes:
        best: `Predictor`, the chosen classifier, calibrated.
        leaderboard: `Leaderboard`. All candidates, with the metric on the images that choices are based on.
        report: `Report` of the chosen classifier on the test images, which no choice used.
        value: float, the metric on the test images.
        interval: 95 % interval of it.
        metric: str, by which candidates are compared.
        test_name: str, the split from which the test images come.
        seconds: float, that the search took.
        description: how the classifier was trained, for the saved folder.

    Example:

    >>> result = tk.autofit(data, time_limit="5m")  # doctest: +SKIP
    >>> print(result)  # doctest: +SKIP
    >>> result.best.predict("photo.jpg").label  # doctest: +SKIP
    'cats'
    """

    best: Predictor
    leaderboard: Leaderboard
    report: Report
    value: float
    interval: ConfidenceInterval
    metric: str
    test_name: str
    seconds: float
    description: TrainingDescription

    def pareto(self) -> list[LeaderboardRow]:
        """Return the candidates that no other exceeds in the metric, speed and size together, the fastest first."""
        return self.leaderboard.pareto()

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Save the classifier as a folder for `transferkit.load`, as `Trainer.save` does.

        Args:
            folder: str or path. A new or empty folder, or a classifier saved before, which is replaced.

        Returns:
            The path of the folder.

        Raises:
            ArtifactError: when the folder has other contents.

        Example:

        >>> result.save("cats_dogs")  # doctest: +SKIP
        """
        return save_classifier(folder, self.best, self.description)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON: the leaderboard, the report and the seconds."""
        test = {"split": self.test_name, "metric": self.metric, "value": self.value, "interval": list(self.interval)}
        rows, report = self.leaderboard.to_dicts(), self.report.to_dict()
        return {"leaderboard": rows, "test": test, "report": report, "seconds": self.seconds}

    def __repr__(self) -> str:
        chosen = next(row.name for row in self.leaderboard if row.is_best)
        return f"AutoFit({chosen!r}, {self._test_text()})"

    def __str__(self) -> str:
        return f"{self.leaderboard}\n{self._test_text()}\n{self.seconds:.0f} seconds"

    def _test_text(self) -> str:
        images = f"{len(self.report.labels):,} {self.test_name} images that no choice used"
        bounds = f"95 % interval {self.interval.low:.4f} to {self.interval.high:.4f}"
        return f"{self.metric} {self.value:.4f} on {images} ({bounds})"
