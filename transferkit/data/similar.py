"""The images of a data set that are most similar to an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from transferkit.calibration.distribution import unit_features
from transferkit.data.examples import Split
from transferkit.errors import DataError


@dataclasses.dataclass(frozen=True)
class SimilarImage:
    """An image that is similar to another.

    Attributes:
        path: str, or None for an array.
        split: str, name of the split.
        index: int, position in the split.
        label: str, class name; several are joined by ", "; or the text of a number.
        similarity: float in [-1, 1], cosine similarity of the features.
    """

    path: str | None
    split: str
    index: int
    label: str
    similarity: float


def find_similar(features: np.ndarray, splits: Iterable[Split], backbone: Any, count: int) -> list[SimilarImage]:
    """Return the `count` images of splits with the largest cosine to `features` (size,), most similar first.

    Raises:
        DataError: for a split of a tf.data.Dataset.
    """
    query = unit_features(features[None])[0]
    found = []
    for split in splits:
        if split.dataset is not None:
            raise DataError(
                "The data must consist of files or arrays to be searched. Received: a tf.data.Dataset. Pass its images "
                "instead."
            )
        cosines = unit_features(backbone.features(split)) @ query
        for index in np.argsort(-cosines, kind="stable")[:count].tolist():
            path = None if split.paths is None else split.paths[index]
            found.append(SimilarImage(path, split.name, index, _label_text(split, index), float(cosines[index])))
    return sorted(found, key=lambda image: -image.similarity)[:count]


def _label_text(split: Split, index: int) -> str:
    label = split.labels[index]
    if split.target == "number":
        return f"{label:g}"
    indices = np.flatnonzero(label > 0.5) if np.ndim(label) else [int(label)]
    return ", ".join(split.class_names[position] for position in indices) or "none"
