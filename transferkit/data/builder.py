"""From photographs, however they are kept, to a data set with splits."""

from __future__ import annotations

import dataclasses
import logging
import numbers
import os
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from transferkit._utils.checks import check_choice, check_fraction, check_image_size, check_int
from transferkit.data import arrays
from transferkit.data import assignment as assemble
from transferkit.data.analysis import analyze_files
from transferkit.data.examples import Data, Split
from transferkit.data.file_info import FileInfo, inspect_files
from transferkit.data.index import ImageIndex
from transferkit.data.report import DataReport
from transferkit.data.sources import index_source
from transferkit.data.splitting import k_fold
from transferkit.errors import DataError, ImageError
from transferkit.images.disk_cache import open_disk_cache
from transferkit.images.loading import ImageSpec

_LOG = logging.getLogger("transferkit")


class DatasetBuilder:
    """A checked description of a data set; `build()` reads the files and makes it.

    Args:
        source: a folder with one folder a class (or with train/ and validation/ or test/ inside); an archive of
            one, or its address; a CSV file or DataFrame with the columns path, label and, if there, split and group;
            a pair of lists (paths, labels), a label that is a list meaning several labels an image; a pair of arrays
            (images, labels) with images (n, height, width, 3), RGB in [0, 255]; records that `write_tfrecord` wrote;
            or a tf.data.Dataset of (images, labels).
        validation: another source of the same kinds; or a share of `source` in (0, 1), or a number of images.
        test: likewise. A share or number is taken from the validation images where these are a source of their
            own, else from `source`.
        image_size: (height, width) in pixels, or one number for both.
        batch_size: images in a batch.
        seed: integer of at least 0: of the splits and the order.
        resize: "stretch", "crop" or "pad"; see `ImageSpec`.
        pixels: a `ImageSpec` that says more than `image_size` and `resize`, and takes their place.
        class_names: the classes in the order wanted; by default sorted. For arrays and datasets: their names.
        label_separator: for tables, what stands between several labels of one image.
        subset: for a quick try: a share in (0, 1) of each class in each split, or a number of images of each.
        balance: None, or "oversample" to repeat the training images of small classes. For weights instead, see
            `Data.class_weight`.
        on_error: "skip" leaves unreadable files aside and lists them in the report; "raise" stops at the first.
        max_skipped_fraction: largest share of unreadable files, in [0, 1]; with more, building stops with an error.
        cache_images: whether decoded images are stored on disk, for photographs that take long to decode.
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
        pixels: ImageSpec | None = None,
        class_names: Sequence[str] | None = None,
        label_separator: str | None = None,
        subset: float | int | None = None,
        balance: str | None = None,
        on_error: str = "skip",
        max_skipped_fraction: float = 0.5,
        cache_images: bool = False,
        progress: bool = True,
    ) -> None:
        self.source = source
        self.validation = _checked_amount("validation", validation, "or a source of its own")
        self.test = _checked_amount("test", test, "or a source of its own")
        self.image_spec = pixels or ImageSpec(check_image_size("image_size", image_size), resize=resize)
        self.batch_size = check_int("batch_size", batch_size)
        self.seed = check_int("seed", seed, minimum=0)
        self.class_names = None if class_names is None else tuple(map(str, class_names))
        self.label_separator = label_separator
        self.subset = _checked_amount("subset", subset, "or None")
        self.balance = check_choice("balance", balance, (None, "oversample"))
        self.on_error = check_choice("on_error", on_error, ("skip", "raise"))
        self.max_skipped_fraction = check_fraction("max_skipped_fraction", max_skipped_fraction)
        self.cache_images = bool(cache_images)
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
        indexes = assemble.assign_splits(collected.indexes, self._amounts(), collected.facts, self.seed)
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
        divided = assemble.assign_splits(collected.indexes, self._amounts(), collected.facts, self.seed)
        pool = divided["train"].concat(divided["validation"]) if "validation" in divided else divided["train"]
        groups = assemble.split_groups(pool, collected.facts)
        for fold in k_fold(pool.names, pool.labels, count, seed=self.seed, groups=groups):
            held_out = set(fold)
            train = pool.take([number for number in range(len(pool)) if number not in held_out])
            yield self._from_indexes({**divided, "train": train, "validation": pool.take(fold)}, collected)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.image_spec.image_size))
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

    def _collect(self) -> _IndexedSource:
        """List all files, read those that are new, and put copies on one side."""
        found, notes = index_source(self.source, "source", self.label_separator)
        indexes = {"train" if name == "all" else name: index for name, index in found.items()}
        if "train" not in indexes:
            raise DataError(f"`source` must hold images to train on. Received: the splits {sorted(indexes)} only.")
        for name, value in self._others().items():
            parts, more = index_source(value, name, self.label_separator)
            notes += more
            whole = list(parts.values())
            indexes[name] = whole[0] if len(whole) == 1 else _all_of(whole)
        paths = [path for index in indexes.values() for path in index.paths]
        facts = dict(zip(paths, inspect_files(paths, self.image_spec, progress=self.progress)))
        ignored = [row for index in indexes.values() for row in index.ignored]
        skipped: list[tuple[str, str]] = []
        for name, index in indexes.items():
            indexes[name], lost = assemble.drop_unreadable(index, facts)
            skipped += lost
        self._check_skipped(len(paths), skipped)
        indexes, reassigned = assemble.resolve_leaks(indexes, facts)
        return _IndexedSource(indexes, facts, skipped, ignored, reassigned, notes)

    def _check_skipped(self, listed: int, skipped: list[tuple[str, str]]) -> None:
        if skipped and self.on_error == "raise":
            raise ImageError(*skipped[0])
        if not listed or len(skipped) >= listed or len(skipped) > self.max_skipped_fraction * listed:
            examples = "; ".join(f"{path!r}: {reason}" for path, reason in skipped[:3])
            raise DataError(
                f"At most a share of {self.max_skipped_fraction:g} of the files may be unreadable (`max_skipped_fraction`), and one "
                f"image must be left. Received: {len(skipped)} of {listed} unreadable ({examples})."
            )
        if skipped:
            _LOG.warning(
                "%d of %d files are no readable images and left out; see data.report.skipped. The first is %r: %s",
                len(skipped),
                listed,
                *skipped[0],
            )

    def _from_indexes(self, indexes: dict[str, ImageIndex], collected: _IndexedSource) -> Data:
        facts = collected.facts
        if self.subset is not None:
            indexes = {name: assemble.subsample(index, self.subset, self.seed) for name, index in indexes.items()}
        names = assemble.resolve_class_names(indexes, self.class_names)
        report = DataReport(
            **analyze_files(indexes, facts),
            skipped=collected.skipped,
            ignored=collected.ignored,
            reassigned=collected.reassigned,
            notes=collected.notes,
        )
        if self.balance == "oversample":
            indexes = {**indexes, "train": assemble.oversample(indexes["train"], self.seed)}
        multi_label = any(isinstance(label, tuple) for index in indexes.values() for label in index.labels)
        splits = {
            name: Split(
                name,
                assemble.encode_labels(index, names, multi_label),
                self.image_spec,
                paths=index.paths,
                on_error=self.on_error,
                store=self._store(index, facts) if self.cache_images else None,
            )
            for name, index in indexes.items()
        }
        return self._data(splits, names, multi_label, report)

    def _store(self, index: ImageIndex, facts: dict[str, FileInfo]) -> Any:
        digests = [facts[path].digest for path in index.paths]
        return open_disk_cache(index.paths, digests, self.image_spec, progress=self.progress)

    def _from_arrays(self) -> Data:
        size = self.image_spec.image_size
        given = {"train": arrays.validate_arrays("source", self.source, size)}
        given |= {name: arrays.validate_arrays(name, value, size) for name, value in self._others().items()}
        given = arrays.divide_arrays(given, self._amounts(), self.seed)
        multi_label = given["train"][1].ndim == 2
        names = arrays.array_names(given, self.class_names)
        splits = {name: Split(name, labels, self.image_spec, images=images) for name, (images, labels) in given.items()}
        counts = {name: _count(split, names) for name, split in splits.items()}
        return self._data(splits, names, multi_label, DataReport(counts))

    def _from_streams(self) -> Data:
        if self.class_names is None:
            raise DataError("`class_names` must be given with a tf.data.Dataset, which does not know them.")
        given = {"train": self.source, "validation": self.validation, "test": self.test}
        splits = {
            name: arrays.dataset_split("source" if name == "train" else name, dataset, self.image_spec, self.batch_size)
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
            image_spec=self.image_spec,
            batch_size=self.batch_size,
            seed=self.seed,
            multi_label=multi_label,
        )


@dataclasses.dataclass(frozen=True)
class _IndexedSource:
    """The readable files of a source, one index a split that is given, and what was seen on the way."""

    indexes: dict[str, ImageIndex]
    facts: dict[str, FileInfo]
    skipped: list[tuple[str, str]]
    ignored: list[tuple[str, str]]
    reassigned: list[tuple[str, str]]
    notes: list[str]


def _all_of(indexes: list[ImageIndex]) -> ImageIndex:
    whole = indexes[0]
    for index in indexes[1:]:
        whole = whole.concat(index)
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
