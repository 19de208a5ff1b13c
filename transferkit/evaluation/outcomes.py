"""Labels, probabilities and predictions of a set of images: what every metric is computed from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Outcomes:
    """The results of a classifier on labeled images.

    Attributes:
        labels: int (n,), or 0/1 (n, classes) for multi-label classification.
        probabilities: float (n, classes).
        predictions: int, with the shape of the labels.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    predictions: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def multi_label(self) -> bool:
        """Whether an image can have any number of labels."""
        return self.labels.ndim == 2

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.probabilities.shape[1]

    @property
    def correct(self) -> np.ndarray:
        """bool (n,), or (n, classes) for multi-label classification."""
        return self.predictions == self.labels

    @property
    def confidence(self) -> np.ndarray:
        """The probability of each prediction, with the shape of `correct`."""
        if self.multi_label:
            return np.where(self.predictions == 1, self.probabilities, 1 - self.probabilities)
        return self.probabilities[np.arange(len(self)), self.predictions]

    @property
    def scored_classes(self) -> range:
        """The classes whose curves are averaged: the second of two, whose curves are those of the first reversed."""
        return range(1, 2) if self.num_classes == 2 and not self.multi_label else range(self.num_classes)

    def positive(self, column: int) -> np.ndarray:
        """Return bool (n,), whether each image belongs to a class."""
        return self.labels[:, column] == 1 if self.multi_label else self.labels == column

    def take(self, indices: np.ndarray) -> Outcomes:
        """Return the outcomes of some images."""
        return Outcomes(self.labels[indices], self.probabilities[indices], self.predictions[indices])


def predict_labels(
    probabilities: np.ndarray, multi_label: bool, thresholds: Sequence[float] | None = None
) -> np.ndarray:
    """Return int (n,), the predicted class, or 0/1 (n, classes) for independent labels.

    It is the most probable class, or a label from 0.5 on, unless there are `thresholds`: of the second of two classes,
    or of each label.
    """
    if multi_label:
        return (probabilities >= (0.5 if thresholds is None else np.asarray(thresholds))).astype(int)
    return probabilities.argmax(axis=1) if thresholds is None else (probabilities[:, 1] >= thresholds[0]).astype(int)
