"""Evaluation of a classifier on labeled images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_int
from transferkit._utils.dataframes import to_data_frame
from transferkit._utils.lazy import LazyModule
from transferkit.evaluation.class_groups import group_names, membership
from transferkit.evaluation.confusions import confusion_rows, mistake_rows
from transferkit.evaluation.curve_panels import curve_panels
from transferkit.evaluation.metric_samples import Metric, metric_name, metric_of, metric_samples
from transferkit.evaluation.outcomes import predict_labels
from transferkit.evaluation.paired_comparison import PairedComparison, compare_pair
from transferkit.evaluation.report_checks import (
    check_probabilities,
    check_resampling,
    check_same_images,
    check_shapes,
    check_thresholds,
)
from transferkit.evaluation.report_export import report_columns, report_dict, write_json
from transferkit.evaluation.report_metrics import ReportMetrics
from transferkit.evaluation.report_page import write_page
from transferkit.evaluation.report_text import report_html, report_text
from transferkit.evaluation.resampling import ConfidenceInterval, percentile_interval
from transferkit.evaluation.slices import Slices, make_slices, slice_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from transferkit import plots
else:
    # Evaluation works where matplotlib is not installed.
    plots = LazyModule("transferkit.plots")


@suggests_arguments
class Report(ReportMetrics):
    """Predictions of a classifier on labeled images, with metrics.

    Args:
        labels: int (n,), or 0/1 (n, classes) for multi-label classification.
        probabilities: float (n, classes) in [0, 1].
        class_names: one str per class, in the order of the columns.
        loss: float, mean loss of the images. Defaults to None.
        paths: one str per image. Defaults to None.
        thresholds: sequence of float in [0, 1], the probabilities from which a label is predicted: one, of the second
            of two classes, or one per class for multi-label classification. Defaults to None: the most probable class,
            or 0.5.

    Attributes:
        labels, probabilities, class_names, loss, paths, thresholds: the arguments.
        predictions: int (n,), the predicted class; or 0/1 (n, classes) for multi-label classification.

    Raises:
        ValueError: if the shapes do not match, or a value is out of its range.

    Example:

    >>> report = Report([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], class_names=["cat", "dog"])
    >>> report
    3 images: accuracy 0.6667, balanced accuracy 0.7500, ROC AUC 1.0000
    macro F1 0.6667, weighted F1 0.6667, average precision 1.0000
    class  precision  recall      f1  images
    cat       0.5000  1.0000  0.6667       1
    dog       1.0000  0.5000  0.6667       2
    """

    def __init__(
        self,
        labels: Any,
        probabilities: Any,
        *,
        class_names: Sequence[str],
        loss: float | None = None,
        paths: Sequence[str] | None = None,
        thresholds: Sequence[float] | None = None,
    ) -> None:
        self.probabilities: np.ndarray = np.asarray(probabilities, np.float64)
        self.labels: np.ndarray = np.asarray(labels)
        self.class_names: tuple[str, ...] = tuple(class_names)
        self.loss = loss
        self.paths: tuple[str, ...] | None = None if paths is None else tuple(paths)
        check_shapes(self.labels, self.probabilities, self.class_names, self.paths)
        check_probabilities(self.probabilities, self.paths)
        self.labels = self.labels.astype(int)
        self.thresholds: tuple[float, ...] | None = None if thresholds is None else tuple(thresholds)
        check_thresholds(self.thresholds, len(self.class_names), self.multi_label)
        self.predictions: np.ndarray = predict_labels(self.probabilities, self.multi_label, self.thresholds)

    def mistakes(self, count: int | None = None) -> list[dict[str, Any]]:
        """Return the wrong predictions, the most confident first.

        Args:
            count: int, the largest number of mistakes. Defaults to None, all.

        Returns:
            Dicts with "index", "path" (or None), "true_label", "predicted_label" and "probability"; for multi-label
            classification one dict per wrong pair of image and class.
        """
        return mistake_rows(self.outcomes, self.class_names, self.paths)[:count]

    def confusions(self, count: int | None = 10, *, examples: int = 3) -> list[dict[str, Any]]:
        """Return the pairs of true and predicted class that are confused, the most frequent first.

        Args:
            count: int >= 1, the largest number of pairs, or None for all. Defaults to 10.
            examples: int >= 0, the largest number of example images per pair. Defaults to 3.

        Returns:
            Dicts with "true_label", "predicted_label", "images" (their number), "fraction" (of the images with the true
            label), and the most confident examples: "indices", and "paths" (or None).
        """
        count = None if count is None else check_int("count", count)
        examples = check_int("examples", examples, minimum=0)
        rows = confusion_rows(self.outcomes, self.class_names, count, examples)
        paths = self.paths
        return [{**row, "paths": None if paths is None else [paths[index] for index in row["indices"]]} for row in rows]

    def confidence_interval(
        self, metric: Metric = "accuracy", *, level: float = 0.95, samples: int = 2000, seed: int = 0
    ) -> ConfidenceInterval:
        """Return a confidence interval of a metric by the percentile bootstrap: images are sampled with replacement.

        Args:
            metric: "accuracy", "balanced_accuracy", "macro_f1" (also "balanced", "weighted" and "micro", and
                "precision" and "recall"), "roc_auc", "average_precision", "brier_score", "calibration_error",
                "top_5_accuracy" (or another number), for classes in an order "mean_absolute_error",
                "within_one_accuracy" or "quadratic_kappa"; or a function of a `Report`, which is called once per
                sample. Defaults to "accuracy".
            level: float between 0 and 1. Defaults to 0.95.
            samples: int >= 1, number of bootstrap samples. Defaults to 2000.
            seed: int >= 0. Defaults to 0.

        Returns:
            A named tuple (low, high). Samples for which the metric is NaN are left out.

        Raises:
            ValueError: if an argument is out of its range.

        Example:

        >>> report = Report([0, 1] * 50, [[0.9, 0.1], [0.2, 0.8]] * 45 + [[0.1, 0.9]] * 10, class_names=["cat", "dog"])
        >>> report.accuracy, report.confidence_interval()
        (0.95, ConfidenceInterval(low=0.9, high=0.99))

        Reference: Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979.
        """
        check_resampling(level, samples, seed)
        return percentile_interval(metric_samples(self, metric, samples, seed), level)

    def compare(
        self, other: Report, metric: Metric = "accuracy", *, level: float = 0.95, samples: int = 2000, seed: int = 0
    ) -> PairedComparison:
        """Compare with the report of another classifier on the same images.

        Args:
            other: `Report` with equal labels, class names and, where both have them, paths.
            metric, level, samples, seed: as in `confidence_interval`. Defaults to "accuracy", 0.95, 2000 and 0.

        Returns:
            A `PairedComparison`: `.difference` (this report minus the other), its bootstrap `.interval`, and
            `.p_value`, McNemar's exact test of equal accuracy.

        Raises:
            ValueError: if the images differ, or an argument is out of its range.
        """
        check_resampling(level, samples, seed)
        check_same_images(self, other)
        values = [metric_samples(report, metric, samples, seed) for report in (self, other)]
        difference = metric_of(self, metric) - metric_of(other, metric)
        interval = percentile_interval(values[0] - values[1], level)
        return compare_pair(self.outcomes, other.outcomes, metric_name(metric), difference, interval)

    def slices(self, by: str | Sequence[Any] | Mapping[str, Any], *, bins: int = 4) -> Slices:
        """Return the metrics of groups of images.

        Args:
            by: one value per image, such as a column of a table; a dict from path to value; or "size" (shorter side in
                pixels), "brightness" (mean gray value) or "source" (folder) of the files.
            bins: int >= 1. More different numbers than this become this many intervals with about equally many images.
                Defaults to 4.

        Returns:
            A list of `Slice`: `.value`, `.images`, `.accuracy`, `.interval`, `.balanced_accuracy`, `.macro_f1`. It
            prints as a table and has `.plot()` and `.to_dicts()`.

        Raises:
            ValueError: if an image has no value, or a property of files is requested for a report without paths.

        Example:

        >>> report = Report([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], class_names=["cat", "dog"])
        >>> report.slices(["day", "day", "night"])
               images  accuracy     95 % interval  balanced accuracy  macro F1
        day         2    1.0000  [0.3424, 1.0000]             1.0000    1.0000
        night       1    0.0000  [0.0000, 0.7935]             0.0000    0.0000
        """
        check_int("bins", bins)
        values = slice_values(by, self.paths, self.class_names, len(self.labels))
        return make_slices(self.outcomes, values, bins)

    def grouped(self, groups: Mapping[str, str] | str) -> Report:
        """Return the report on groups of classes, such as the genus of species.

        The probability of a group is the sum of those of its classes, and its most probable group is predicted.

        Args:
            groups: dict from each class name to the name of its group; or a separator such as "/", before whose last
                occurrence a class name has its group.

        Returns:
            A `Report` whose classes are the groups, sorted by name.

        Raises:
            ValueError: if a class has no group, there are fewer than two groups, or images have several labels.

        Example:

        >>> report = Report([0, 2], [[0.3, 0.4, 0.3], [0.1, 0.2, 0.7]], class_names=["cat/a", "cat/b", "dog/c"])
        >>> report.accuracy, report.grouped("/").accuracy
        (0.5, 1.0)
        """
        if self.multi_label:
            raise ValueError("`grouped` requires one label per image. Received: several. Use the report itself.")
        names, matrix = membership(group_names(groups, self.class_names))
        if len(names) < 2:
            raise ValueError(f"`groups` must have at least two groups. Received: {names}. Give another grouping.")
        labels = matrix.argmax(axis=1)[self.labels]
        probabilities = np.clip(self.probabilities @ matrix, 0, 1)
        return Report(labels, probabilities, class_names=names, paths=self.paths)

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as a dict of plain values, for JSON."""
        return report_dict(self)

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write the metrics of `to_dict` to a JSON file.

        Args:
            path: the file, which is replaced if it exists.
        """
        write_json(self.to_dict(), path)

    def to_html(self, path: str | os.PathLike[str], *, predictor: Any = None, mistakes: int = 50) -> None:
        """Write the report as a self-contained page: metrics with intervals, curves, confused classes, mistakes.

        Tables can be sorted and filtered; images are thumbnails of the files. The page makes no request, and names of
        classes and files are shown as text.

        Args:
            path: the file, which is replaced if it exists.
            predictor: `Predictor` that made the predictions, for a heat map of each mistake and a map of the images by
                its features, colored by label and by mistake. Defaults to None, a page without them.
            mistakes: int >= 0, the largest number of mistakes shown, the most confident first. Defaults to 50.

        Raises:
            ValueError: if `mistakes` is negative.

        Example:

        >>> report = trainer.evaluate(data.test)  # doctest: +SKIP
        >>> report.to_html("report.html", predictor=trainer.predictor())  # doctest: +SKIP
        """
        write_page(self, path, predictor, check_int("mistakes", mistakes, minimum=0))

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame with one row per image.

        Its columns are "path" (where there are paths), "true_label", "predicted_label" (for multi-label classification
        tuples of class names), "confidence" of the prediction (of one class), "correct", and "p(<class>)" for each
        class.

        Raises:
            MissingExtraError: if pandas is not installed: `pip install "transferkit[tables]"`.
        """
        return to_data_frame(report_columns(self), "Report.to_dataframe")

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Plot the confusion matrix, the calibration, and ROC and precision-recall curves.

        Of more than ten classes, the curves are those of the ten classes with the lowest areas.

        Args:
            path: where to save the figure. Defaults to None, which saves nothing.

        Returns:
            The matplotlib figure.
        """
        title = f"{len(self.labels):,} images, accuracy {self.accuracy:.1%}"
        title += f", calibration error {self.calibration_error:.3f}"
        bins = self.reliability()
        panels = curve_panels(self.outcomes, self.class_names)
        calibration = bins.accuracy, bins.counts
        return plots.evaluation_figure(
            self.confusion_matrix, self.class_names, calibration, panels, title=title, path=path
        )

    def __repr__(self) -> str:
        """Return the metrics as text of at most 2,000 characters."""
        return report_text(self)

    def _repr_html_(self) -> str:
        return report_html(self)
