"""From photographs, however they are kept, to a data set with splits."""

from __future__ import annotations

import dataclasses
import logging
import numbers
import os
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from transferkit._checks import check_choice, check_fraction, check_image_size, check_int
from transferkit.data import arrays, assemble
from transferkit.data.facts import FileFact, facts_of
from transferkit.data.index import Index
from transferkit.data.pixel_store import open_store
from transferkit.data.pixels import PixelSpec
from transferkit.data.records import Data, Split
from transferkit.data.report import DataReport
from transferkit.data.sources import indexes_of
from transferkit.data.split import k_fold
from transferkit.data.survey import survey
from transferkit.errors import DataError, ImageError

__all__ = ["DatasetBuilder"]

_LOG = logging.getLogger("transferkit")


class DatasetBuilder:
    """A checked description of a data set; `build()` reads the files and makes it.

    Args:
        source: a folder with one folder a class (or with train/ and validation/ or test/ inside); an archive of
            one, or its address; a CSV file or DataFrame with the columns path, label and, if there, split and group;
            a pair of lists (paths, labels), a label that is a list meaning several labels an image; a pair of arrays
            (images, labels) with images (n, height, width, 3), RGB in [0, 255]; records that `write_records` wrote;
            or a tf.data.Dataset of (images, labels).
        validation: another source of the same kinds; or a share of `source` in (0, 1), or a number of images.
        test: likewise. A share or number is taken from the validation images where these are a source of their
            own, else from `source`.
        image_size: (height, width) in pixels, or one number for both.
        batch_size: images in a batch.
        seed: integer of at least 0: of the splits and the order.
        resize: "stretch", "crop" or "pad"; see `PixelSpec`.
        pixels: a `PixelSpec` that says more than `image_size` and `resize`, and takes their place.
        class_names: the classes in the order wanted; by default sorted. For arrays and datasets: their names.
        label_separator: for tables, what stands between several labels of one image.
        subset: for a quick try: a share in (0, 1) of each class in each split, or a number of images of each.
        balance: None, or "oversample" to repeat the training images of small classes. For weights instead, see
            `Data.class_weight`.
        on_error: "skip" leaves unreadable files aside and lists them in the report; "raise" stops at the first.
        max_skipped: largest share of unreadable files, in [0, 1]; with more, building stops with an error.
        cache_pixels: whether decoded images are stored on disk, for photographs that take long to decode.
        progress: whether a bar is shown while many files are read.

    Raises:
        ValueError: when an argument is out of its range.

    Example:

    >>> data = DatasetBuilder("photos/", validation=0.2, test=0.1).build()  # doctest: +SKIP
    >>> data.class_names  # doctest: +SKIP
    ('cats', 'dogs')
    """

    def __init__(
        self,
        source: Any,
        *,
        validation: Any = None,
        test: Any = None,
        image_size: int | tuple[int, int] = (160, 160),
        batch_size: int = 32,
        seed: int = 0,
        resize: str = "stretch",
        pixels: PixelSpec | None = None,
        class_names: Sequence[str] | None = None,
        label_separator: str | None = None,
        subset: float | int | None = None,
        balance: str | None = None,
        on_error: str = "skip",
        max_skipped: float = 0.5,
        cache_pixels: bool = False,
        progress: bool = True,
    ) -> None:
        self.source = source
        self.validation = _checked_amount("validation", validation, "or a source of its own")
        self.test = _checked_amount("test", test, "or a source of its own")
        self.pixels = pixels or PixelSpec(check_image_size("image_size", image_size), resize=resize)
        self.batch_size = check_int("batch_size", batch_size)
        self.seed = check_int("seed", seed, minimum=0)
        self.class_names = None if class_names is None else tuple(map(str, class_names))
        self.label_separator = label_separator
        self.subset = _checked_amount("subset", subset, "or None")
        self.balance = check_choice("balance", balance, (None, "oversample"))
        self.on_error = check_choice("on_error", on_error, ("skip", "raise"))
        self.max_skipped = check_fraction("max_skipped", max_skipped)
        self.cache_pixels = bool(cache_pixels)
        self.progress = bool(progress)

    def build(self) -> Data:
        """Read the source and return the data set.

        Every file is decoded once, so that no later step can stumble over one; what was found is remembered for
        files that do not change.

        Raises:
            DataError: when the source is missing, empty, of one class, or has too many unreadable files.
            ImageError: with on_error="raise", for the first unreadable file.
        """
        if isinstance(self.source, tf.data.Dataset):
            return self._from_streams()
        if arrays.is_arrays(self.source):
            return self._from_arrays()
        collected = self._collect()
        indexes = assemble.divide_pools(collected.indexes, self._amounts(), collected.facts, self.seed)
        return self._from_indexes(indexes, collected)

    def folds(self, count: int) -> Iterator[Data]:
        """Yield `count` data sets for cross-validation: each image is in the validation split of exactly one.

        The test split, if there is one, stays the same and out of all of them.

        Args:
            count: number of folds, at least 2.

        Raises:
            ValueError: when the builder was given a validation split, or a source other than files.
        """
        count = check_int("count", count, minimum=2)
        if self.validation is not None:
            raise ValueError(f"`validation` must be None for folds. Received: {self.validation!r}.")
        if isinstance(self.source, tf.data.Dataset) or arrays.is_arrays(self.source):
            raise ValueError(f"`source` must be files for folds. Received: {type(self.source).__name__}.")
        collected = self._collect()
        divided = assemble.divide_pools(collected.indexes, self._amounts(), collected.facts, self.seed)
        pool = divided["train"].joined(divided["validation"]) if "validation" in divided else divided["train"]
        groups = assemble.groups_of(pool, collected.facts)
        for fold in k_fold(pool.names, pool.labels, count, seed=self.seed, groups=groups):
            held_out = set(fold)
            train = pool.take([number for number in range(len(pool)) if number not in held_out])
            yield self._from_indexes({**divided, "train": train, "validation": pool.take(fold)}, collected)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.pixels.image_size))
        source = (
            repr(os.fspath(self.source)) if isinstance(self.source, (str, os.PathLike)) else type(self.source).__name__
        )
        return f"DatasetBuilder({source}, image_size={size}, batch_size={self.batch_size}, seed={self.seed})"

    def _amounts(self) -> dict[str, float | int]:
        given = {"test": self.test, "validation": self.validation}
        return {name: value for name, value in given.items() if isinstance(value, (int, float))}

    def _others(self) -> dict[str, Any]:
        given = {"validation": self.validation, "test": self.test}
        return {name: value for name, value in given.items() if value is not None and name not in self._amounts()}

    def _collect(self) -> _Collected:
        """List all files, read those that are new, and put copies on one side."""
        found, notes = indexes_of(self.source, "source", self.label_separator)
        indexes = {"train" if name == "all" else name: index for name, index in found.items()}
        if "train" not in indexes:
            raise DataError(f"`source` must hold images to train on. Received: the splits {sorted(indexes)} only.")
        for name, value in self._others().items():
            parts, more = indexes_of(value, name, self.label_separator)
            notes += more
            whole = list(parts.values())
            indexes[name] = whole[0] if len(whole) == 1 else _all_of(whole)
        paths = [path for index in indexes.values() for path in index.paths]
        facts = dict(zip(paths, facts_of(paths, self.pixels, progress=self.progress)))
        ignored = [row for index in indexes.values() for row in index.ignored]
        skipped: list[tuple[str, str]] = []
        for name, index in indexes.items():
            indexes[name], lost = assemble.readable(index, facts)
            skipped += lost
        self._check_skipped(len(paths), skipped)
        indexes, moved = assemble.part_leaks(indexes, facts)
        return _Collected(indexes, facts, skipped, ignored, moved, notes)

    def _check_skipped(self, listed: int, skipped: list[tuple[str, str]]) -> None:
        if skipped and self.on_error == "raise":
            raise ImageError(*skipped[0])
        if not listed or len(skipped) >= listed or len(skipped) > self.max_skipped * listed:
            examples = "; ".join(f"{path!r}: {reason}" for path, reason in skipped[:3])
            raise DataError(
                f"At most a share of {self.max_skipped:g} of the files may be unreadable (`max_skipped`), and one "
                f"image must be left. Received: {len(skipped)} of {listed} unreadable ({examples})."
            )
        if skipped:
            _LOG.warning(
                "%d of %d files are no readable images and left out; see data.report.skipped. The first is %r: %s",
                len(skipped),
                listed,
                *skipped[0],
            )

    def _from_indexes(self, indexes: dict[str, Index], collected: _Collected) -> Data:
        facts = collected.facts
        if self.subset is not None:
            indexes = {name: assemble.few(index, self.subset, self.seed) for name, index in indexes.items()}
        names = assemble.class_names_of(indexes, self.class_names)
        report = DataReport(
            **survey(indexes, facts),
            skipped=collected.skipped,
            ignored=collected.ignored,
            moved=collected.moved,
            notes=collected.notes,
        )
        if self.balance == "oversample":
            indexes = {**indexes, "train": assemble.oversample(indexes["train"], self.seed)}
        multi_label = any(isinstance(label, tuple) for index in indexes.values() for label in index.labels)
        splits = {
            name: Split(
                name,
                assemble.encode(index, names, multi_label),
                self.pixels,
                paths=index.paths,
                on_error=self.on_error,
                store=self._store(index, facts) if self.cache_pixels else None,
            )
            for name, index in indexes.items()
        }
        return self._data(splits, names, multi_label, report)

    def _store(self, index: Index, facts: dict[str, FileFact]) -> Any:
        digests = [facts[path].digest for path in index.paths]
        return open_store(index.paths, digests, self.pixels, progress=self.progress)

    def _from_arrays(self) -> Data:
        size = self.pixels.image_size
        given = {"train": arrays.checked_arrays("source", self.source, size)}
        given |= {name: arrays.checked_arrays(name, value, size) for name, value in self._others().items()}
        given = arrays.divide_arrays(given, self._amounts(), self.seed)
        multi_label = given["train"][1].ndim == 2
        names = arrays.array_names(given, self.class_names)
        splits = {name: Split(name, labels, self.pixels, images=images) for name, (images, labels) in given.items()}
        counts = {name: _count(split, names) for name, split in splits.items()}
        return self._data(splits, names, multi_label, DataReport(counts))

    def _from_streams(self) -> Data:
        if self.class_names is None:
            raise DataError("`class_names` must be given with a tf.data.Dataset, which does not know them.")
        given = {"train": self.source, "validation": self.validation, "test": self.test}
        splits = {
            name: arrays.stream_split("source" if name == "train" else name, dataset, self.pixels, self.batch_size)
            for name, dataset in given.items()
            if dataset is not None
        }
        labels = self.source.element_spec[1].shape
        multi_label = labels.rank == self.source.element_spec[0].shape.rank - 2 and labels[-1] != 1
        return self._data(splits, self.class_names, multi_label, DataReport({}))

    def _data(self, splits: dict[str, Split], names: tuple[str, ...], multi_label: bool, report: DataReport) -> Data:
        if len(names) < 2 and not multi_label:
            raise DataError(
                f"There must be at least two classes. Received: {list(names)}. Put each class's images into a folder "
                "of its own."
            )
        return Data(
            splits=splits,
            class_names=names,
            report=report,
            pixels=self.pixels,
            batch_size=self.batch_size,
            seed=self.seed,
            multi_label=multi_label,
        )


@dataclasses.dataclass(frozen=True)
class _Collected:
    """The readable files of a source, one index a split that is given, and what was seen on the way."""

    indexes: dict[str, Index]
    facts: dict[str, FileFact]
    skipped: list[tuple[str, str]]
    ignored: list[tuple[str, str]]
    moved: list[tuple[str, str]]
    notes: list[str]


def _all_of(indexes: list[Index]) -> Index:
    whole = indexes[0]
    for index in indexes[1:]:
        whole = whole.joined(index)
    return whole


def _count(split: Split, class_names: tuple[str, ...]) -> dict[str, int]:
    labels = split.labels
    counts = [int((labels == n).sum() if labels.ndim == 1 else labels[:, n].sum()) for n in range(len(class_names))]
    return dict(zip(class_names, counts))


def _checked_amount(name: str, value: Any, otherwise: str) -> Any:
    if not isinstance(value, numbers.Real):
        return value
    amount, whole = float(value), isinstance(value, numbers.Integral)
    if isinstance(value, bool) or not (0 < amount < 1 or (whole and amount >= 1)):
        raise ValueError(
            f"`{name}` must be a share in (0, 1), a number of images of at least 1, {otherwise}. Received: {value!r}."
        )
    return int(amount) if whole else amount
