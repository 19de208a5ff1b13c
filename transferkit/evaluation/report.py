"""Evaluation metrics of a classifier on labeled images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from transferkit._utils.tables import text_table
from transferkit._utils.text import printable
from transferkit.plots import evaluation_figure

_NUM_BINS = 10
_MAX_REPR, _MAX_NAME = 2000, 40


class Report:
    """Predictions of a classifier on labeled images, with metrics.

    Args:
        labels: int (n,), or 0/1 (n, classes) for multi-label classification.
        probabilities: float (n, classes) in [0, 1].
        class_names: one str per class, in the order of the columns.
        loss: float, mean loss of the images. Defaults to None.
        paths: one str per image. Defaults to None.

    Attributes:
        labels, probabilities, class_names, loss, paths: the arguments.
        predictions: int (n,), the most probable class; or 0/1 (n, classes), 1 for a probability of at least 0.5.

    Raises:
        ValueError: if the shapes do not match.

    Example:

    >>> report = Report([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], class_names=["cat", "dog"])
    >>> report
    3 images: accuracy 0.6667, balanced accuracy 0.7500, ROC AUC 1.0000
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
            return np.stack([_confusion(*columns, 2) for columns in zip(self.labels.T.astype(int), self.predictions.T)])
        return _confusion(self.labels, self.predictions, len(self.class_names))

    @property
    def per_class(self) -> dict[str, dict[str, float]]:
        """Dict from class name to "precision", "recall" and "f1" in [0, 1], and "support", the number of images.

        A ratio with denominator 0 is 0.
        """
        true_positives, predicted, support = self._counts()
        precision, recall = _ratio(true_positives, predicted), _ratio(true_positives, support)
        f1 = _ratio(2 * true_positives, predicted + support)
        return {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
            for name, p, r, f, n in zip(self.class_names, precision, recall, f1, support)
        }

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that have images, in [0, 1]."""
        true_positives, _, support = self._counts()
        return float(np.mean(_ratio(true_positives, support)[support > 0]))

    @property
    def roc_auc(self) -> float:
        """Area under the ROC curve, in [0, 1]; for more than two classes the mean of one class against the rest.

        NaN if no class has positive and negative images. Reference: Fawcett, "An introduction to ROC analysis", 2006.
        """
        one_hot = self.labels if self.multi_label else np.eye(len(self.class_names), dtype=int)[self.labels]
        # With two classes, both columns have the same area.
        columns = range(1, 2) if len(self.class_names) == 2 and not self.multi_label else range(len(self.class_names))
        areas = [_auc(one_hot[:, column].astype(bool), self.probabilities[:, column]) for column in columns]
        known = [area for area in areas if not np.isnan(area)]
        return float(np.mean(known)) if known else float("nan")

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, in [0, 1], over ten bins of confidence.

        Reference: Guo et al., "On Calibration of Modern Neural Networks", https://arxiv.org/abs/1706.04599
        """
        if self.multi_label:
            confidence = np.maximum(self.probabilities, 1 - self.probabilities).ravel()
        else:
            confidence = self.probabilities.max(axis=1)
        correct = (self.predictions == self.labels).ravel()
        bins = np.minimum((confidence * _NUM_BINS).astype(int), _NUM_BINS - 1)
        gaps = [abs(correct[bins == b].mean() - confidence[bins == b].mean()) * np.mean(bins == b) for b in set(bins)]
        return float(sum(gaps))

    def mistakes(self, count: int | None = None) -> list[dict[str, Any]]:
        """Return the wrong predictions, the most confident first.

        Args:
            count: int, the largest number of mistakes. Defaults to None, all.

        Returns:
            Dicts with "index", "path" (or None), "true_label", "predicted_label" and "probability"; for multi-label
            classification one dict per wrong pair of image and class.
        """
        mistakes = [self._mistake(*position) for position in np.argwhere(self.predictions != self.labels)]
        mistakes.sort(key=lambda mistake: -mistake["probability"])
        return mistakes[:count]

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as a dict of plain values, for JSON."""
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
        """Plot the confusion matrix and the calibration.

        Args:
            path: where to save the figure. Defaults to None, which saves nothing.

        Returns:
            The matplotlib figure.
        """
        if self.multi_label:
            confidence, correct = self.probabilities.ravel(), self.labels.ravel()
        else:
            confidence, correct = self.probabilities.max(axis=1), self.predictions == self.labels
        title = f"{len(self.labels):,} images, accuracy {self.accuracy:.1%}"
        title += f", calibration error {self.calibration_error:.3f}"
        return evaluation_figure(self.confusion_matrix, self.class_names, confidence, correct, title=title, path=path)

    def __repr__(self) -> str:
        """Return the metrics as text of at most 2,000 characters."""
        loss = "" if self.loss is None else f", loss {self.loss:.4f}"
        summary = f"{len(self.labels):,} images: accuracy {self.accuracy:.4f}{loss}, balanced accuracy "
        summary += f"{self.balanced_accuracy:.4f}, ROC AUC {self.roc_auc:.4f}"
        rows = [["class", "precision", "recall", "f1", "images"]]
        for name, row in self.per_class.items():
            name = printable(name)
            name = name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 3]}..."
            metrics = [f"{row[metric]:.4f}" for metric in ("precision", "recall", "f1")]
            rows.append([name, *metrics, f"{row['support']:,}"])
        lines = [summary, *text_table(rows, "<>>>>").splitlines()]
        ends = np.cumsum([len(line) + 1 for line in lines])
        if ends[-1] > _MAX_REPR:
            count = int(np.searchsorted(ends, _MAX_REPR - len("... and 1,000,000 more classes")))
            lines[count:] = [f"... and {len(lines) - count:,} more classes"]
        return "\n".join(lines)

    def _check(self) -> None:
        shape = (len(self.labels), len(self.class_names))
        fits = self.probabilities.shape == shape and self.labels.shape in ((shape[0],), shape)
        if not fits or not len(self.labels):
            raise ValueError(
                "`probabilities` must be (images, classes), with one of `labels` per image and one of `class_names` "
                f"per class. Received: probabilities {self.probabilities.shape}, labels {self.labels.shape}, "
                f"{shape[1]} class names."
            )
        allowed = range(2 if self.multi_label else shape[1])
        if not np.isin(self.labels, allowed).all():
            wrong = self.labels[~np.isin(self.labels, allowed)][0]
            raise ValueError(f"`labels` must be in [0, {len(allowed) - 1}]. Received: {wrong}.")
        if self.paths is not None and len(self.paths) != shape[0]:
            received = f"{len(self.paths)} for {shape[0]} images"
            raise ValueError(f"`paths` must contain one path per image. Received: {received}.")

    def _counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the true positives, the predicted images and the images of each class."""
        matrix = self.confusion_matrix
        if self.multi_label:
            return matrix[:, 1, 1], matrix[:, :, 1].sum(axis=1), matrix[:, 1, :].sum(axis=1)
        return np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)

    def _mistake(self, index: int, column: int | None = None) -> dict[str, Any]:
        predicted = int(self.predictions[index]) if column is None else column
        probability = float(self.probabilities[index, predicted])
        name = self.class_names[predicted]
        if column is None:
            labels = self.class_names[int(self.labels[index])], name
        elif self.predictions[index, column]:
            labels = f"not {name}", name
        else:
            labels, probability = (name, f"not {name}"), 1 - probability
        row = {"index": int(index), "path": None if self.paths is None else self.paths[index]}
        return {**row, "true_label": labels[0], "predicted_label": labels[1], "probability": probability}


def _confusion(labels: np.ndarray, predictions: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(labels * count + predictions, minlength=count * count).reshape(count, count)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)


def _auc(positive: np.ndarray, scores: np.ndarray) -> float:
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return float("nan")
    # The area is the probability that a positive has a higher rank than a negative; equal scores share their mean rank.
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))
