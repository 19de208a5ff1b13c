"""Metrics and curves of predictions on labeled images."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_int, did_you_mean
from transferkit.evaluation import curves
from transferkit.evaluation.calibration_metrics import NUM_BINS, Reliability, brier_scores, reliability
from transferkit.evaluation.classification import (
    average_metrics,
    class_counts,
    class_metrics,
    confusion_matrix,
    in_top_k,
)
from transferkit.evaluation.outcomes import Outcomes
from transferkit.evaluation.weighted_metrics import metric_value

if TYPE_CHECKING:
    from typing_extensions import Self


@suggests_arguments
class ReportMetrics:
    """Metrics and curves of a report; the base of `Report`."""

    labels: np.ndarray
    probabilities: np.ndarray
    predictions: np.ndarray
    class_names: tuple[str, ...]
    loss: float | None
    paths: tuple[str, ...] | None

    @property
    def multi_label(self) -> bool:
        """Whether an image can have any number of labels."""
        return self.labels.ndim == 2

    @property
    def accuracy(self) -> float:
        """Fraction of correct predictions in [0, 1]; for multi-label classification, of pairs of image and class."""
        return float(np.mean(self.predictions == self.labels))

    @property
    def confusion_matrix(self) -> np.ndarray:
        """int (classes, classes), the number of images of each true class (row) and predicted class (column).

        For multi-label classification (classes, 2, 2), one matrix of "no" and "yes" per class.
        """
        if self.multi_label:
            return np.stack([confusion_matrix(*columns, 2) for columns in zip(self.labels.T, self.predictions.T)])
        return confusion_matrix(self.labels, self.predictions, len(self.class_names))

    @property
    def per_class(self) -> dict[str, dict[str, float]]:
        """Dict from class name to "precision", "recall" and "f1" in [0, 1], and "support", the number of images.

        A ratio with denominator 0 is 0.
        """
        counts = class_counts(self.outcomes)
        columns = class_metrics(counts).values()
        return {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
            for name, p, r, f, n in zip(self.class_names, *columns, counts.support)
        }

    @property
    def averages(self) -> dict[str, dict[str, float]]:
        """Dict from the name of an average to the averaged "precision", "recall" and "f1", in [0, 1].

        "macro" is the mean over the classes with images or predictions; "balanced" over the classes with images, so
        that its recall is the balanced accuracy; "weighted" weights the classes by their number of images; "micro" is
        computed from the sums of the counts.
        """
        averages = average_metrics(class_counts(self.outcomes))
        return {name: {metric: float(value) for metric, value in row.items()} for name, row in averages.items()}

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that have images, in [0, 1]."""
        return self.averages["balanced"]["recall"]

    @property
    def roc_auc(self) -> float:
        """Area under the ROC curve, in [0, 1]; for more than two classes the mean of one class against the rest.

        NaN if no class has positive and negative images. Reference: Fawcett, "An introduction to ROC analysis", 2006.
        """
        return metric_value("roc_auc", self.outcomes)

    @property
    def average_precision(self) -> float:
        """Area under the precision-recall curve, in [0, 1]: of the second of two classes, else the mean of the classes.

        The sum of the precisions, each times the increase in recall, without interpolation. NaN if no such class has
        images.
        """
        return metric_value("average_precision", self.outcomes)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, in [0, 1], over ten bins of confidence.

        Reference: Guo et al., "On Calibration of Modern Neural Networks", https://arxiv.org/abs/1706.04599
        """
        return self.reliability().expected_error

    @property
    def brier_score(self) -> float:
        """Mean squared difference of probabilities and labels: smaller is better.

        For two classes of the second one, in [0, 1]; for more classes the sum over the classes, in [0, 2]; for
        multi-label classification the mean over the classes, in [0, 1].

        Reference: Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.
        """
        return float(np.mean(brier_scores(self.outcomes)))

    @property
    def mean_absolute_error(self) -> float:
        """Mean distance of the indices of predicted and true class, for classes in the order of `class_names`."""
        return metric_value("mean_absolute_error", self.outcomes)

    @property
    def within_one_accuracy(self) -> float:
        """Fraction of images whose predicted class is the true one or next to it, for classes in an order."""
        return metric_value("within_one_accuracy", self.outcomes)

    @property
    def quadratic_kappa(self) -> float:
        """Cohen's kappa with quadratic weights, for classes in an order: 1 for equal, 0 for independent predictions.

        NaN if all labels and predictions are the same class. Reference: Cohen, "Weighted kappa", 1968.
        """
        return metric_value("quadratic_kappa", self.outcomes)

    def top_k(self, k: int = 5) -> float:
        """Return the top-k accuracy: the fraction of images with their label among the k most probable classes.

        Args:
            k: int >= 1. Defaults to 5.

        Returns:
            float in [0, 1]; for multi-label classification, the fraction of images with at least one of their labels
            among the k most probable ones. Of classes with equal probabilities the first ones count.
        """
        return float(np.mean(in_top_k(self.outcomes, check_int("k", k))))

    def roc_curve(self, class_name: str | None = None) -> curves.RocCurve:
        """Return the ROC curve of one class against the rest, as `sklearn.metrics.roc_curve` without dropped points.

        Args:
            class_name: str. Defaults to None, which is possible for two classes: the second one.

        Returns:
            A `RocCurve`: `.false_positive_rate`, `.true_positive_rate`, `.thresholds`, `.area`.

        Raises:
            ValueError: for an unknown class.

        Example:

        >>> from transferkit.evaluation import Report
        >>> report = Report([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], class_names=["cat", "dog"])
        >>> report.roc_curve("dog")
        RocCurve(area=1.0000, 4 points)
        """
        return curves.roc_curve(*self._scores(class_name))

    def precision_recall_curve(self, class_name: str | None = None) -> curves.PrecisionRecallCurve:
        """Return the precision-recall curve of one class, as `sklearn.metrics.precision_recall_curve`.

        Args:
            class_name: str. Defaults to None, which is possible for two classes: the second one.

        Returns:
            A `PrecisionRecallCurve`: `.precision`, `.recall`, `.thresholds`, `.average_precision`.

        Raises:
            ValueError: for an unknown class.
        """
        return curves.precision_recall_curve(*self._scores(class_name))

    def reliability(self, class_name: str | None = None, *, bins: int = NUM_BINS) -> Reliability:
        """Return confidence and accuracy in bins of equal width, the numbers of a reliability diagram.

        Args:
            class_name: str, the class whose probabilities are compared with its frequency. Defaults to None, the
                probabilities of the predictions with their accuracy.
            bins: int >= 1, number of bins. Defaults to 10.

        Returns:
            A `Reliability`: `.confidence`, `.accuracy`, `.counts`, `.edges`, `.expected_error`, `.maximum_error`.

        Raises:
            ValueError: for an unknown class, or if `bins` is not a positive integer.
        """
        check_int("bins", bins)
        if class_name is not None:
            positive, probabilities = self._scores(class_name)
            return reliability(probabilities, positive, bins)
        return reliability(self.outcomes.confidence.ravel(), self.outcomes.correct.ravel(), bins)

    def subset(self, indices: Any) -> Self:
        """Return the report of some images, without a loss.

        Args:
            indices: int (m,), the images, repeated ones too; or bool (n,), whether each image is included.

        Returns:
            A `Report`.

        Raises:
            ValueError: if no image remains.

        Example:

        >>> from transferkit.evaluation import Report
        >>> report = Report([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], class_names=["cat", "dog"])
        >>> report.subset([0, 1]).accuracy
        1.0
        """
        chosen = np.arange(len(self.labels))[indices]
        if not len(chosen):
            raise ValueError("`indices` must contain an image. Received: none. Select at least one image.")
        part = copy.copy(self)
        part.loss, part.paths = None, None if self.paths is None else tuple(self.paths[index] for index in chosen)
        part.labels, part.probabilities = self.labels[chosen], self.probabilities[chosen]
        part.predictions = self.predictions[chosen]
        return part

    @property
    def outcomes(self) -> Outcomes:
        """The labels, probabilities and predictions, which the functions of this package take."""
        return Outcomes(self.labels, self.probabilities, self.predictions)

    def _scores(self, class_name: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Return whether each image belongs to a class, and the probabilities of the class."""
        column = self._column(class_name)
        return self.outcomes.positive(column), self.probabilities[:, column]

    def _column(self, class_name: str | None) -> int:
        if class_name is None and len(self.class_names) == 2 and not self.multi_label:
            return 1
        if class_name not in self.class_names:
            hint = did_you_mean(class_name, self.class_names) or "The names are in `report.class_names`."
            raise ValueError(f"`class_name` must be one of the classes. Received: {class_name!r}. {hint}")
        return self.class_names.index(class_name)
