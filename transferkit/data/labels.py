"""Class names and encoded labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from transferkit.data.cells import sorted_names, to_name
from transferkit.data.index import ImageIndex
from transferkit.errors import DataError


def check_class_names(class_names: Any) -> tuple[str, ...] | None:
    """Return class names as a tuple of str, or None.

    Raises:
        ValueError: when they are not a sequence of different names.
    """
    if class_names is None:
        return None
    ordered = isinstance(class_names, Iterable) and not isinstance(class_names, (str, bytes, Set, Mapping))
    names = tuple(to_name(str(name)) for name in class_names) if ordered else ()
    if not names or not all(names) or len(set(names)) < len(names):
        raise ValueError(
            f"`class_names` must be a list of different names, or None. Received: {class_names!r}. Give, for example, "
            'class_names=["cats", "dogs"].'
        )
    return names


def resolve_class_names(indexes: Mapping[str, ImageIndex], given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the class names in the order of the labels: as given, or sorted; numbers of a table as numbers.

    Raises:
        DataError: when they do not match the labels of the images.
    """
    numeric = all(index.from_table for index in indexes.values())
    found = sorted_names({name for index in indexes.values() for name in index.class_names()}, numeric=numeric)
    names = tuple(found if given is None else given)
    unknown = sorted(set(found) - set(names))
    if unknown:
        raise DataError(f"`class_names` must name all classes. Received: {list(names)}, without {unknown[:5]}.")
    trained = indexes["train"].class_names()
    missing = [name for name in names if name not in trained]
    if missing:
        raise DataError(
            f"Every class must have training images. Received: none for {missing[:5]}. Check that all splits have the "
            "same class folders."
        )
    return names


def encode_labels(index: ImageIndex, class_names: Sequence[str], multi_label: bool) -> np.ndarray:
    """Return the labels as int32 (n,), float32 (n, classes) of zeros and ones, or float32 (n,) of numbers."""
    if index.numbers:
        return np.array(index.labels, np.float64).astype(np.float32)
    positions = {name: position for position, name in enumerate(class_names)}
    if not multi_label:
        return np.array([positions[str(label)] for label in index.labels], np.int32)
    encoded = np.zeros((len(index), len(class_names)), np.float32)
    for row, label in zip(encoded, index.labels):
        row[[positions[name] for name in (label if isinstance(label, tuple) else (label,))]] = 1
    return encoded


def count_labels(labels: np.ndarray, class_names: Sequence[str]) -> dict[str, int]:
    """Return class name -> number of images, of encoded labels; of numbers, which have no classes, their count."""
    if not class_names:
        return {"numbers": len(labels)}
    counts = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=len(class_names))
    return {name: int(count) for name, count in zip(class_names, counts)}
