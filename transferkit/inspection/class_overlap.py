"""Pairs of classes that the features do not separate well."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transferkit.evaluation.classification import confusion_matrix
from transferkit.inspection.records import ClassOverlap


def find_class_overlap(scores: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> list[ClassOverlap]:
    """Return the pairs of classes of which images are predicted as the other one, the largest fraction first."""
    matrix = confusion_matrix(labels, scores.argmax(axis=1), len(class_names))
    confused, totals = matrix + matrix.T, matrix.sum(axis=1)
    pairs = []
    for first, second in np.argwhere(np.triu(confused, k=1)).tolist():
        images = int(confused[first, second])
        fraction = images / int(totals[first] + totals[second])
        pairs.append(ClassOverlap((class_names[first], class_names[second]), images, fraction))
    return sorted(pairs, key=lambda pair: -pair.fraction)
