"""Data without some images, or with other labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from transferkit.data.dataset import Data
from transferkit.data.examples import Split
from transferkit.data.report import DataReport
from transferkit.errors import DataError
from transferkit.inspection.records import ImageKey


def drop_images(data: Data, images: Iterable[ImageKey]) -> Data:
    """Return data without the images.

    Raises:
        DataError: when a split, or a class of the training split, would be empty.
    """
    dropped: dict[str, set[int]] = {}
    for image in images:
        dropped.setdefault(image.split, set()).add(image.index)
    splits = {name: _without(split, dropped.get(name, set())) for name, split in data.splits.items()}
    return _with_splits(data, splits, f"{sum(map(len, dropped.values())):,} images were dropped by an inspection")


def relabel_images(data: Data, labels: Mapping[ImageKey, int]) -> Data:
    """Return data in which some images have other labels.

    Raises:
        DataError: when a class of the training split would be empty.
    """
    splits = {}
    for name, split in data.splits.items():
        changed = split.labels.copy()
        for image, label in labels.items():
            if image.split == name:
                changed[image.index] = label
        splits[name] = dataclasses.replace(split, labels=changed)
    return _with_splits(data, splits, f"{len(labels):,} labels were corrected by an inspection")


def _without(split: Split, dropped: set[int]) -> Split:
    if len(dropped) == len(split):
        raise DataError(
            f"A split must keep an image. Received: all {len(split)} images of {split.name!r} to drop. Select fewer "
            "records."
        )
    return split.take([index for index in range(len(split)) if index not in dropped])


def _with_splits(data: Data, splits: dict[str, Split], note: str) -> Data:
    counts = {name: _class_counts(split, data.class_names) for name, split in splits.items()}
    before = _class_counts(data.splits["train"], data.class_names)
    for name, count in counts["train"].items():
        if before[name] and not count:
            raise DataError(
                f"Each class must keep a training image. Received: none of {name!r}. Select fewer records, or build "
                "the data without this class."
            )
    report: DataReport = dataclasses.replace(data.report, counts=counts, notes=[*data.report.notes, note])
    return dataclasses.replace(data, splits=splits, report=report)


def _class_counts(split: Split, class_names: tuple[str, ...]) -> dict[str, int]:
    counts = np.bincount(split.labels, minlength=len(class_names))
    return {name: int(count) for name, count in zip(class_names, counts)}
