"""Precision, recall, F1 and their averages, and top-k accuracy, from counts of images.

Counts are arrays (..., classes): those of one report, or those of many bootstrap samples at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from transferkit.evaluation.outcomes import Outcomes

AVERAGES = ("macro", "balanced", "weighted", "micro")
METRICS = ("precision", "recall", "f1")


class ClassCounts(NamedTuple):
    """Number of images per class, (..., classes).

    Attributes:
        true_positives: images of the class that are predicted as the class.
        predicted: images that are predicted as the class.
        support: images of the class.
    """

    true_positives: np.ndarray
    predicted: np.ndarray
    support: np.ndarray

    def total(self) -> ClassCounts:
        """Return the sums over the classes, (..., 1)."""
        return ClassCounts(*(counts.sum(axis=-1, keepdims=True) for counts in self))


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Return int (classes, classes), the number of images of each true class (row) and predicted class (column)."""
    cells = np.bincount(labels * num_classes + predictions, minlength=num_classes * num_classes)
    return cells.reshape(num_classes, num_classes)


def class_counts(outcomes: Outcomes, weights: np.ndarray | None = None) -> ClassCounts:
    """Return the counts (classes,), or (samples, classes) for `weights` (samples, images)."""
    rows = np.ones((1, len(outcomes))) if weights is None else weights
    labels, predictions, classes = outcomes.labels, outcomes.predictions, outcomes.num_classes
    if outcomes.multi_label:
        tables = (labels * predictions, predictions, labels)
        sums = [rows @ table.astype(rows.dtype) for table in tables]
    else:
        correct = np.flatnonzero(labels == predictions)
        sums = [group_sums(rows[:, correct], labels[correct], classes)]
        sums += [group_sums(rows, groups, classes) for groups in (predictions, labels)]
    return ClassCounts(*(counts[0] if weights is None else counts for counts in sums))


def group_sums(weights: np.ndarray, groups: np.ndarray, num_groups: int) -> np.ndarray:
    """Return (samples, num_groups): the sums of `weights` (samples, images) over the images of each group."""
    order = np.argsort(groups, kind="stable")
    present, starts = np.unique(groups[order], return_index=True)
    sums = np.zeros((len(weights), num_groups), weights.dtype)
    if len(present):
        sums[:, present] = np.add.reduceat(weights[:, order], starts, axis=1)
    return sums


def class_metrics(counts: ClassCounts) -> dict[str, np.ndarray]:
    """Return "precision", "recall" and "f1" with the shape of the counts; a ratio with denominator 0 is 0."""
    return {
        "precision": ratio(counts.true_positives, counts.predicted),
        "recall": ratio(counts.true_positives, counts.support),
        "f1": ratio(2 * counts.true_positives, counts.predicted + counts.support),
    }


def average_metrics(counts: ClassCounts) -> dict[str, dict[str, np.ndarray]]:
    """Return the metrics averaged over the last axis, by the name of the average."""
    metrics = class_metrics(counts)
    weights = {
        "macro": (counts.support + counts.predicted > 0).astype(float),
        "balanced": (counts.support > 0).astype(float),
        "weighted": counts.support,
    }
    averages = {
        average: {name: ratio((values * weight).sum(axis=-1), weight.sum(axis=-1)) for name, values in metrics.items()}
        for average, weight in weights.items()
    }
    return {**averages, "micro": {name: values[..., 0] for name, values in class_metrics(counts.total()).items()}}


def in_top_k(outcomes: Outcomes, k: int) -> np.ndarray:
    """Return bool (n,), whether a label of the image is one of the k most probable classes.

    Of classes with equal probabilities the first ones count, as in `predictions`.
    """
    # Stable, so that classes with equal probabilities keep their order.
    top = np.argsort(-outcomes.probabilities, axis=1, kind="stable")[:, :k]
    if outcomes.multi_label:
        return np.any(np.take_along_axis(outcomes.labels, top, axis=1), axis=1)
    return np.any(top == outcomes.labels[:, None], axis=1)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return numerator / denominator, 0 where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator > 0)
