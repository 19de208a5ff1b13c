"""How good a classifier is on held-out images, in numbers; nothing but NumPy is needed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINS = 10


class Report:
    """What a classifier said of held-out images, against what they are.

    Args:
        labels: int (n,), or 0/1 (n, classes) where an image can have several labels.
        probabilities: (n, classes), in [0, 1].
        class_names: the classes, in the order of the columns.
        loss: mean loss, as training counts it, or None.
        paths: the images' files, or None.

    Attributes:
        labels, probabilities, class_names, loss, paths: as given.
        predictions: int (n,), the most probable class; or 0/1 (n, classes) from 0.5 up.

    Raises:
        ValueError: when the shapes do not fit.

    Example:

    >>> report = Report([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], class_names=["cat", "dog"])
    >>> report.confusion_matrix.tolist()
    [[1, 0], [1, 1]]
    """

    def __init__(
        self,
        labels: Any,
        probabilities: Any,
        *,
        class_names: Sequence[str],
        loss: float | None = None,
        paths: Sequence[str] | None = None,
    ) -> None:
        self.probabilities = np.asarray(probabilities, np.float64)
        self.labels = np.asarray(labels)
        self.class_names = tuple(class_names)
        self.loss = loss
        self.paths = None if paths is None else tuple(paths)
        self._check()
        if self.multi_label:
            self.predictions = (self.probabilities >= 0.5).astype(int)
        else:
            self.labels = self.labels.astype(int)
            self.predictions = self.probabilities.argmax(axis=1)

    @property
    def multi_label(self) -> bool:
        """Whether an image can have several labels."""
        return self.labels.ndim == 2

    @property
    def accuracy(self) -> float:
        """Share of right answers, in [0, 1]; with several labels an image, share of right yes-or-no answers."""
        return float(np.mean(self.predictions == self.labels))

    @property
    def confusion_matrix(self) -> np.ndarray:
        """int (classes, classes): how often a class (row) was taken for a class (column).

        With several labels an image: (classes, 2, 2), for each class the same of "no" and "yes".
        """
        count = len(self.class_names)
        if not self.multi_label:
            return np.bincount(self.labels * count + self.predictions, minlength=count * count).reshape(count, count)
        pairs = (self.labels * 2 + self.predictions).astype(int)
        return np.stack([np.bincount(column, minlength=4).reshape(2, 2) for column in pairs.T])

    @property
    def per_class(self) -> dict[str, dict[str, float]]:
        """Class name to precision, recall and F1 in [0, 1], and support (images of the class).

        A ratio with nothing below the line counts 0.
        """
        true_positives, said, support = self._counts()
        precision, recall = _ratio(true_positives, said), _ratio(true_positives, support)
        f1 = _ratio(2 * true_positives, said + support)
        return {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
            for name, p, r, f, n in zip(self.class_names, precision, recall, f1, support)
        }

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over the classes that have images, in [0, 1]: each class counts the same."""
        true_positives, _, support = self._counts()
        return float(np.mean(_ratio(true_positives, support)[support > 0]))

    @property
    def roc_auc(self) -> float:
        """Area under the ROC curve, in [0, 1]; with more than two classes the mean of one class against the rest.

        NaN where no class has images on both sides. Reference: Fawcett, "An introduction to ROC analysis", 2006.
        """
        if self.multi_label:
            columns = [(self.labels[:, c], self.probabilities[:, c]) for c in range(len(self.class_names))]
        elif len(self.class_names) == 2:
            columns = [(self.labels, self.probabilities[:, 1])]
        else:
            columns = [(self.labels == c, self.probabilities[:, c]) for c in range(len(self.class_names))]
        areas = [_auc(np.asarray(truth, bool), scores) for truth, scores in columns]
        known = [area for area in areas if not np.isnan(area)]
        return float(np.mean(known)) if known else float("nan")

    @property
    def calibration_error(self) -> float:
        """How far confidence and accuracy are apart, in [0, 1], over ten bins of confidence weighted by their images.

        Reference: Guo et al., "On Calibration of Modern Neural Networks", https://arxiv.org/abs/1706.04599
        """
        if self.multi_label:
            confidence = np.maximum(self.probabilities, 1 - self.probabilities).ravel()
        else:
            confidence = self.probabilities.max(axis=1)
        true_positives = (self.predictions == self.labels).ravel()
        bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
        gaps = [
            abs(true_positives[bins == b].mean() - confidence[bins == b].mean()) * np.mean(bins == b) for b in set(bins)
        ]
        return float(sum(gaps))

    def mistakes(self, count: int | None = None) -> list[dict[str, Any]]:
        """Return the wrong answers, the most confident first.

        Args:
            count: how many at most, or None for all.

        Returns:
            Dicts with "index", "path" (or None), "truth", "said" and "probability"; of images with several labels,
            one dict for each wrong yes or no.
        """
        wrong = np.argwhere(self.predictions != self.labels)
        rows = [self._mistake(*place) for place in wrong]
        rows.sort(key=lambda row: -row["probability"])
        return rows[:count]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values, ready for JSON."""
        auc = self.roc_auc
        return {
            "images": len(self.labels),
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "loss": self.loss,
            "roc_auc": None if np.isnan(auc) else auc,
            "calibration_error": self.calibration_error,
            "class_names": list(self.class_names),
            "confusion_matrix": self.confusion_matrix.tolist(),
            "per_class": self.per_class,
        }

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the confusion matrix and how well confidence is founded.

        Args:
            path: where to save the picture, or None.

        Returns:
            The matplotlib figure.
        """
        from transferkit.plots import evaluation_figure

        return evaluation_figure(self, path=path)

    def __str__(self) -> str:
        loss = "" if self.loss is None else f", loss {self.loss:.4f}"
        width = max(len("class"), *map(len, self.class_names))
        lines = [
            f"{len(self.labels):,} images: accuracy {self.accuracy:.4f}{loss}, balanced accuracy "
            f"{self.balanced_accuracy:.4f}, ROC AUC {self.roc_auc:.4f}",
            f"{'class':<{width}}  precision  recall      f1  images",
        ]
        for name, row in self.per_class.items():
            figures = f"{row['precision']:9.4f}  {row['recall']:6.4f}  {row['f1']:6.4f}  {row['support']:6,}"
            lines.append(f"{name:<{width}}  {figures}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Report({len(self.labels)} images, accuracy={self.accuracy:.4f}, loss={self.loss})"

    def _check(self) -> None:
        shape = (len(self.labels), len(self.class_names))
        fits = self.probabilities.shape == shape and self.labels.shape in ((shape[0],), shape)
        if not fits or not len(self.labels):
            raise ValueError(
                f"`probabilities` must be (images, classes), with a label for each image. Received: probabilities "
                f"{self.probabilities.shape}, labels {self.labels.shape}, {shape[1]} classes."
            )
        if self.paths is not None and len(self.paths) != len(self.labels):
            raise ValueError(f"`paths` must be one for each image. Received: {len(self.paths)} for {shape[0]} images.")

    def _counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return for each class how many were rightly said, said, and there."""
        matrix = self.confusion_matrix
        if self.multi_label:
            return matrix[:, 1, 1], matrix[:, :, 1].sum(axis=1), matrix[:, 1, :].sum(axis=1)
        return np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)

    def _mistake(self, index: int, column: int | None = None) -> dict[str, Any]:
        path = None if self.paths is None else self.paths[index]
        if column is None:
            said = int(self.predictions[index])
            truth, answer = self.class_names[int(self.labels[index])], self.class_names[said]
            return self._row(index, path, truth, answer, self.probabilities[index, said])
        name, yes = self.class_names[column], bool(self.predictions[index, column])
        probability = self.probabilities[index, column] if yes else 1 - self.probabilities[index, column]
        return self._row(index, path, f"{'not ' * yes}{name}", f"{'not ' * (not yes)}{name}", probability)

    @staticmethod
    def _row(index: int, path: str | None, truth: str, said: str, probability: float) -> dict[str, Any]:
        return {"index": int(index), "path": path, "truth": truth, "said": said, "probability": float(probability)}


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.zeros(len(above)), where=below > 0)


def _auc(truth: np.ndarray, scores: np.ndarray) -> float:
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    # The area is the chance that a positive is ranked above a negative; equal scores share their ranks.
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))
