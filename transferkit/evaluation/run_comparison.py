"""Comparison of several classifiers by their reports on the same images."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.lazy import LazyModule
from transferkit._utils.tables import html_table, text_table
from transferkit._utils.text import shorten
from transferkit.evaluation.metric_samples import Metric, metric_name, metric_of, metric_samples
from transferkit.evaluation.paired_comparison import PairedComparison, compare_pair
from transferkit.evaluation.report import Report
from transferkit.evaluation.report_checks import check_resampling, check_same_images
from transferkit.evaluation.report_text import short_name
from transferkit.evaluation.resampling import ConfidenceInterval, holm, percentile_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from transferkit import plots
else:
    # Evaluation works where matplotlib is not installed.
    plots = LazyModule("transferkit.plots")

_COLUMNS = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "calibration_error")
_PAIR_HEADER = ["pair", "difference", "interval", "only first", "only second", "p", "adjusted p"]
_SMALLER_IS_BETTER = ("brier_score", "calibration_error")


@dataclasses.dataclass(frozen=True)
class ReportScore:
    """The metrics of one report.

    Attributes:
        name: str, the name of the report.
        value: float, the metric by which the reports are compared.
        interval: the bounds of the bootstrap confidence interval of `value`.
        loss: float, or None.
        metrics: dict of "accuracy", "balanced_accuracy", "macro_f1", "roc_auc" and "calibration_error".
    """

    name: str
    value: float
    interval: ConfidenceInterval
    loss: float | None
    metrics: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class ReportPair:
    """The comparison of two reports.

    Attributes:
        first: str, the name of the report with the better metric.
        second: str, the name of the other report.
        comparison: `PairedComparison`, the difference of the first and the second report.
        adjusted_p_value: float in [0, 1], adjusted for the number of pairs by Holm's method.
    """

    first: str
    second: str
    comparison: PairedComparison
    adjusted_p_value: float


class ReportComparison(list[ReportScore]):
    """A list of `ReportScore`, the best first; prints as two tables and displays as HTML in a notebook.

    Attributes:
        metric: str, the name of the metric by which the reports are compared.
        level: float, the level of the intervals.
        pairs: list of `ReportPair`, each pair of reports with a test of their difference.

    `compare_reports` makes it from a list of `scores`.
    """

    def __init__(
        self, scores: Iterable[ReportScore], metric: str = "", level: float = 0.95, pairs: Sequence[ReportPair] = ()
    ) -> None:
        super().__init__(scores)
        self.metric: str = metric
        self.level: float = level
        self.pairs: list[Any] = list(pairs)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the scores as dicts of plain values, for JSON or a DataFrame."""
        return [
            {"name": score.name, self.metric: score.value, "interval": list(score.interval), "loss": score.loss}
            | dict(score.metrics)
            for score in self
        ]

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Plot the metric of each report with its interval.

        Args:
            path: where to save the figure. Defaults to None, which saves nothing.

        Returns:
            The matplotlib figure.
        """
        return plots.metric_intervals([(score.name, score.value, *score.interval) for score in self], self.metric, path)

    @property
    def _header(self) -> list[str]:
        columns = [column.replace("_", " ") for column in self._columns]
        return ["report", self.metric.replace("_", " "), f"{self.level:.4g} interval", *columns, "loss"]

    @property
    def _columns(self) -> list[str]:
        return [column for column in _COLUMNS if column != self.metric]

    def _cells(self) -> list[list[str]]:
        return [
            [
                short_name(score.name),
                f"{score.value:.4f}",
                str(score.interval),
                *(f"{score.metrics[column]:.4f}" for column in self._columns),
                "" if score.loss is None else f"{score.loss:.4f}",
            ]
            for score in self
        ]

    def _pair_cells(self) -> list[list[str]]:
        return [
            [
                f"{short_name(pair.first)} - {short_name(pair.second)}",
                f"{pair.comparison.difference:+.4f}",
                str(pair.comparison.interval),
                f"{pair.comparison.only_first:,}",
                f"{pair.comparison.only_second:,}",
                f"{pair.comparison.p_value:.4g}",
                f"{pair.adjusted_p_value:.4g}",
            ]
            for pair in self.pairs
        ]

    def __repr__(self) -> str:
        scores = text_table([self._header, *self._cells()], "<" + ">" * len(self._header))
        pairs = text_table([_PAIR_HEADER, *self._pair_cells()], "<>>>>>>") if self.pairs else ""
        return shorten(f"{scores}\n\n{pairs}".rstrip())

    def _repr_html_(self) -> str:
        return html_table(self._cells(), self._header) + html_table(self._pair_cells(), _PAIR_HEADER)


@suggests_arguments
def compare_reports(
    reports: Sequence[Report] | Mapping[str, Report],
    *,
    metric: Metric = "accuracy",
    level: float = 0.95,
    samples: int = 2000,
    seed: int = 0,
) -> ReportComparison:
    """Compare classifiers by their reports on the same images.

    Each pair of reports has the difference of the metric with a bootstrap confidence interval, on the same samples of
    images for both, and McNemar's exact test of equal accuracy, adjusted for the number of pairs.

    Args:
        reports: at least two `Report` objects with equal labels in the same order, or a dict from name to `Report`.
        metric: the name of a metric, or a function of a report, as in `Report.confidence_interval`. Defaults to
            "accuracy".
        level: float between 0 and 1, of the confidence intervals. Defaults to 0.95.
        samples: int >= 1, number of bootstrap samples. Defaults to 2000.
        seed: int >= 0. Defaults to 0.

    Returns:
        A `ReportComparison`, the best report first: `.pairs`, `.plot()`, `.to_dicts()`.

    Raises:
        ValueError: if there are fewer than two reports, their images differ, or an argument is out of its range.

    Example:

    >>> labels = [0, 1] * 20
    >>> good = [[0.9, 0.1], [0.2, 0.8]] * 20
    >>> poor = [[0.9, 0.1], [0.6, 0.4]] * 10 + [[0.9, 0.1], [0.2, 0.8]] * 10
    >>> report, other = (Report(labels, values, class_names=["cat", "dog"]) for values in (good, poor))
    >>> comparison = compare_reports({"good": report, "poor": other})
    >>> comparison.pairs[0].comparison
    accuracy: difference +0.2500 [0.1250, 0.4000], p = 0.001953 (10 and 0 images correct in one only)

    References: Dietterich, "Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms",
    1998; Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    check_resampling(level, samples, seed)
    named = _named_reports(reports)
    values = {name: metric_of(report, metric) for name, report in named.items()}
    resampled = {name: metric_samples(report, metric, samples, seed) for name, report in named.items()}
    order = sorted(values, key=values.__getitem__, reverse=metric not in _SMALLER_IS_BETTER)
    scores = [_score(name, named[name], values[name], percentile_interval(resampled[name], level)) for name in order]
    comparisons = {}
    for pair in itertools.combinations(order, 2):
        first, second = (named[name].outcomes for name in pair)
        difference = values[pair[0]] - values[pair[1]]
        interval = percentile_interval(resampled[pair[0]] - resampled[pair[1]], level)
        comparisons[pair] = compare_pair(first, second, metric_name(metric), difference, interval)
    adjusted = holm([comparison.p_value for comparison in comparisons.values()])
    pairs = [ReportPair(*pair, comparisons[pair], p_value) for pair, p_value in zip(comparisons, adjusted)]
    return ReportComparison(scores, metric_name(metric), level, pairs)


def _named_reports(reports: Sequence[Report] | Mapping[str, Report]) -> dict[str, Report]:
    if not isinstance(reports, Mapping):
        reports = {f"report {number}": report for number, report in enumerate(reports, 1)}
    named = {str(name): report for name, report in reports.items()}
    if len(named) < 2:
        raise ValueError(f"`reports` must contain at least two reports. Received: {len(named)}.")
    first, *others = named.values()
    for other in others:
        check_same_images(first, other)
    return named


def _score(name: str, report: Report, value: float, interval: ConfidenceInterval) -> ReportScore:
    metrics = {column: metric_of(report, column) for column in _COLUMNS}
    return ReportScore(name, value, interval, report.loss, metrics)
