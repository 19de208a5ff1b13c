"""The examples of a source: image files with their labels, before anything is decoded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from transferkit.data.numbers import number_strata

# Files with these extensions are expected to be images; their contents decide how they are decoded.
EXTENSIONS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "jpeg"),
    **dict.fromkeys((".png", ".apng"), "png"),
    **dict.fromkeys((".bmp", ".dib"), "bmp"),
    **dict.fromkeys((".tif", ".tiff"), "tiff"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "ppm"),
    **{f".{name}": name for name in ("gif", "webp", "avif", "ico")},
    **dict.fromkeys((".heic", ".heif", ".hif"), "heif"),
}


@dataclasses.dataclass(frozen=True)
class ImageIndex:
    """Image files with their labels.

    Attributes:
        paths: one absolute path per example.
        sample_ids: one per example, from which splits follow: in a folder the path relative to it, in a table the last
            two parts of the path, with "/" between them. They are the same in a copy of the data elsewhere, and do
            not change when an example is added.
        labels: one per example: a class name, a tuple of label names, or the text of a number.
        splits: the split that the source assigns to each example, or None.
        groups: examples with the same group stay in one split, or None.
        weights: finite and >= 0, one per example, or None where the source has none.
        skipped: (path, reason) of files that should be images but are not.
        ignored: (path, reason) of files without any sign of being images.
        numbers: whether the labels are numbers.
        from_table: whether paths and labels come from a table or lists, whose integers are ordered as numbers.
    """

    paths: tuple[str, ...]
    sample_ids: tuple[str, ...]
    labels: tuple[str | tuple[str, ...], ...]
    splits: tuple[str | None, ...] | None = None
    groups: tuple[str | None, ...] | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    ignored: tuple[tuple[str, str], ...] = ()
    from_table: bool = False
    weights: tuple[float, ...] | None = None
    numbers: bool = False

    def __len__(self) -> int:
        return len(self.paths)

    def class_names(self) -> set[str]:
        """Return the names of all classes; none where the labels are numbers."""
        names: set[str] = set()
        if self.numbers:
            return names
        for label in self.labels:
            names.update(label if isinstance(label, tuple) else (label,))
        return names

    def strata(self) -> Sequence[str | tuple[str, ...]]:
        """Return the labels by which splits are stratified: of numbers, intervals with equally many images."""
        return number_strata([str(label) for label in self.labels]) if self.numbers else self.labels

    def split_keys(self) -> tuple[str, ...]:
        """Return for each example what its rank in the splits is computed from: its group, or its sample id."""
        groups = self.groups or (None,) * len(self)
        return tuple(name if group is None else f"group\0{group}" for name, group in zip(self.sample_ids, groups))

    def take(self, indices: Sequence[int]) -> ImageIndex:
        """Return the index of the selected examples."""
        names = ("paths", "sample_ids", "labels", "splits", "groups", "weights")
        columns = {name: getattr(self, name) for name in names}
        taken: dict[str, Any] = {n: None if c is None else tuple(c[i] for i in indices) for n, c in columns.items()}
        return dataclasses.replace(self, **taken)

    def sorted(self) -> ImageIndex:
        """Return the index sorted by sample id, independent of the order in which the source lists its files."""
        return self.take(sorted(range(len(self)), key=lambda index: (self.sample_ids[index], self.paths[index])))


def concat(indexes: Sequence[ImageIndex]) -> ImageIndex:
    """Return one index with the examples of all `indexes`, without their splits; without a weight, it is 1."""
    groups = weights = None
    if any(index.groups is not None for index in indexes):
        groups = tuple(group for index in indexes for group in index.groups or (None,) * len(index))
    if any(index.weights is not None for index in indexes):
        weights = tuple(weight for index in indexes for weight in index.weights or (1.0,) * len(index))
    return dataclasses.replace(
        indexes[0],
        paths=tuple(path for index in indexes for path in index.paths),
        sample_ids=tuple(name for index in indexes for name in index.sample_ids),
        labels=tuple(label for index in indexes for label in index.labels),
        splits=None,
        groups=groups,
        weights=weights,
        from_table=any(index.from_table for index in indexes),
    )
