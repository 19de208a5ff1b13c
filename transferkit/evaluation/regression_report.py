"""Evaluation of predicted numbers on labeled images."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_int
from transferkit._utils.dataframes import to_data_frame
from transferkit._utils.lazy import LazyModule
from transferkit._utils.tables import html_lines, html_table, text_table
from transferkit.evaluation.regression_metrics import METRICS, regression_metric, regression_value
from transferkit.evaluation.regression_page import write_regression_page
from transferkit.evaluation.report_checks import check_resampling
from transferkit.evaluation.report_export import write_json
from transferkit.evaluation.resampling import ConfidenceInterval, bootstrap, percentile_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from transferkit import plots
else:
    # Evaluation works where matplotlib is not installed.
    plots = LazyModule("transferkit.plots")


@suggests_arguments
class RegressionReport:
    """Predicted numbers of labeled images, with metrics in the unit of the labels.

    Args:
        labels: float (n,), finite. The true numbers.
        predictions: float (n,), finite. The predicted numbers.
        loss: float, mean loss of the images. Defaults to None.
        paths: one str per image. Defaults to None.

    Attributes:
        labels, predictions, loss, paths: the arguments.

    Raises:
        ValueError: if the shapes do not match, or a number is not finite.

    Example:

    >>> report = RegressionReport([1, 2, 3, 4], [1, 2, 4, 6])
    >>> report.mean_absolute_error, report.r2
    (0.75, 0.0)
    """

    def __init__(
        self, labels: Any, predictions: Any, *, loss: float | None = None, paths: Sequence[str] | None = None
    ) -> None:
        self.labels: np.ndarray = np.asarray(labels, np.float64)
        self.predictions: np.ndarray = np.asarray(predictions, np.float64)
        self.loss = loss
        self.paths: tuple[str, ...] | None = None if paths is None else tuple(paths)
        shapes = self.labels.shape, self.predictions.shape
        if len(shapes[0]) != 1 or shapes[0] != shapes[1] or not shapes[0][0]:
            raise ValueError(
                "`labels` and `predictions` must be one number for each of at least one image. Received: labels "
                f"{shapes[0]} and predictions {shapes[1]}. Give two lists of equal length."
            )
        for name in ("labels", "predictions"):
            values = getattr(self, name)
            if not np.isfinite(values).all():
                image = int(np.flatnonzero(~np.isfinite(values))[0])
                raise ValueError(
                    f"`{name}` must be finite. Received: {values[image]} for image {image}. Remove the image."
                )
        if self.paths is not None and len(self.paths) != len(self.labels):
            received = f"{len(self.paths)} for {len(self.labels)} images"
            raise ValueError(f"`paths` must contain one path per image. Received: {received}. Give all or none.")

    @property
    def mean_absolute_error(self) -> float:
        """Mean distance of predictions and labels."""
        return self._value("mean_absolute_error")

    @property
    def root_mean_squared_error(self) -> float:
        """Square root of the mean squared distance."""
        return self._value("root_mean_squared_error")

    @property
    def median_absolute_error(self) -> float:
        """Median distance."""
        return self._value("median_absolute_error")

    @property
    def r2(self) -> float:
        """Fraction of the variance of the labels that is predicted; NaN where all labels are equal."""
        return self._value("r2")

    @property
    def pearson(self) -> float:
        """Pearson correlation of predictions and labels; NaN where either are all equal."""
        return self._value("pearson")

    @property
    def spearman(self) -> float:
        """Spearman rank correlation; NaN where labels or predictions are all equal."""
        return self._value("spearman")

    @property
    def residuals(self) -> np.ndarray:
        """Predictions minus labels, float64 (n,)."""
        return self.predictions - self.labels

    def confidence_interval(
        self, metric: str = "mean_absolute_error", *, level: float = 0.95, samples: int = 2000, seed: int = 0
    ) -> ConfidenceInterval:
        """Return the bootstrap interval of a metric.

        Args:
            metric: "mean_absolute_error", "root_mean_squared_error", "median_absolute_error", "r2", "pearson" or
                "spearman". Defaults to "mean_absolute_error".
            level: float between 0 and 1. Defaults to 0.95.
            samples: int >= 1, number of bootstrap samples. Defaults to 2000.
            seed: int >= 0. Defaults to 0.

        Returns:
            A named tuple (low, high). Samples for which the metric is NaN are left out.

        Raises:
            ValueError: if an argument is out of its range.

        Example:

        >>> RegressionReport([1, 2], [2, 3]).confidence_interval()
        ConfidenceInterval(low=1.0, high=1.0)
        """
        check_resampling(level, samples, seed)
        statistic = regression_metric(metric, self.labels, self.predictions)
        return percentile_interval(bootstrap(statistic, len(self.labels), samples=samples, seed=seed), level)

    def mistakes(self, count: int | None = 10) -> list[dict[str, Any]]:
        """Return the images with the largest errors, the largest first.

        Args:
            count: int >= 1, the largest number of images, or None for all. Defaults to 10.

        Returns:
            Dicts with "index", "path" (or None), "label", "prediction" and "residual".

        Raises:
            ValueError: if `count` is out of its range.
        """
        count = None if count is None else check_int("count", count)
        order = np.argsort(-np.abs(self.residuals), kind="stable")[:count].tolist()
        return [
            {
                "index": row,
                "path": None if self.paths is None else self.paths[row],
                "label": float(self.labels[row]),
                "prediction": float(self.predictions[row]),
                "residual": float(self.residuals[row]),
            }
            for row in order
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the number of images, the loss and the metrics as a dict of plain values, for JSON."""
        return {"images": len(self.labels), "loss": self.loss, **{name: self._value(name) for name in METRICS}}

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write the metrics of `to_dict` to a JSON file; a metric that is NaN is null.

        Args:
            path: the file, which is replaced if it exists.
        """
        write_json(self.to_dict(), path)

    def to_html(self, path: str | os.PathLike[str], *, predictor: Any = None, mistakes: int = 50) -> None:
        """Write the report as a self-contained page: metrics with intervals, the plot, and the largest errors.

        Args:
            path: the file, which is replaced if it exists.
            predictor: `Predictor` that made the predictions, for a heat map of each error. Defaults to None, a page
                without them.
            mistakes: int >= 0, the largest number of images shown. Defaults to 50.

        Raises:
            ValueError: if `mistakes` is negative.

        Example:

        >>> report = trainer.evaluate(data.test)  # doctest: +SKIP
        >>> report.to_html("report.html", predictor=trainer.predictor())  # doctest: +SKIP
        """
        write_regression_page(self, path, predictor, check_int("mistakes", mistakes, minimum=0))

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame with one row per image.

        Its columns are "path" (where there are paths), "label", "prediction" and "residual".

        Raises:
            MissingExtraError: if pandas is not installed: `pip install "transferkit[tables]"`.
        """
        columns: dict[str, Sequence[Any]] = {} if self.paths is None else {"path": self.paths}
        values = {"label": self.labels, "prediction": self.predictions, "residual": self.residuals}
        return to_data_frame(
            {**columns, **{name: array.tolist() for name, array in values.items()}}, "RegressionReport.to_dataframe"
        )

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Plot predictions against labels, and the distribution of the residuals.

        Args:
            path: where to save the figure. Defaults to None, which saves nothing.

        Returns:
            The matplotlib figure.
        """
        title = f"{len(self.labels):,} images, mean absolute error {self.mean_absolute_error:.4g}, R2 {self.r2:.3f}"
        return plots.regression_figure(self.labels, self.predictions, title=title, path=path)

    def _value(self, metric: str) -> float:
        return regression_value(metric, self.labels, self.predictions)

    def metric_rows(self) -> list[tuple[str, float, str]]:
        """Return the name, the value and the bootstrap interval of 95 % of each metric, as in the printed table."""
        return self._metric_rows

    @functools.cached_property
    def _metric_rows(self) -> list[tuple[str, float, str]]:
        # Fewer samples for many images, whose intervals are narrow.
        samples = min(_MAX_SAMPLES, max(_MIN_SAMPLES, _MAX_SAMPLED // len(self.labels)))
        intervals = {name: self.confidence_interval(name, samples=samples) for name in METRICS}
        ends = {name: f"[{low:.4g}, {high:.4g}]" for name, (low, high) in intervals.items()}
        return [(name.replace("_", " "), self._value(name), ends[name]) for name in METRICS]

    def _rows(self) -> list[list[str]]:
        return [[name, f"{value:.4g}", interval] for name, value, interval in self._metric_rows]

    def __repr__(self) -> str:
        """Return the metrics as text, with bootstrap intervals of 95 %."""
        return "\n".join([self._summary(), text_table([_HEADER, *self._rows()], "<>>")])

    def _repr_html_(self) -> str:
        return html_lines([self._summary()]) + html_table(self._rows(), _HEADER)

    def _summary(self) -> str:
        return f"{len(self.labels):,} images" + ("" if self.loss is None else f", loss {self.loss:.4f}")


_HEADER = ["metric", "value", "95 % interval"]
_MIN_SAMPLES, _MAX_SAMPLES, _MAX_SAMPLED = 100, 1000, 2_000_000
