"""Builds a data set with splits from any kind of source."""

from __future__ import annotations

import dataclasses
import numbers
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.cache_limit import hold_files
from transferkit._utils.checks import check_choice, check_fraction, check_image_size, check_int
from transferkit.data import arrays
from transferkit.data.analysis import analyze_files, check_skipped
from transferkit.data.assignment import (
    assign_splits,
    drop_unreadable,
    oversample,
    resolve_leaks,
    split_groups,
    subsample,
)
from transferkit.data.dataset import Data
from transferkit.data.examples import Split
from transferkit.data.file_info import FileInfo, inspect_files
from transferkit.data.index import ImageIndex, concat
from transferkit.data.labels import check_class_names, count_labels, encode_labels, resolve_class_names
from transferkit.data.numbers import TARGETS, check_number_options, check_numbers_differ
from transferkit.data.report import DataReport
from transferkit.data.sources import index_source
from transferkit.data.split_sizes import check_size, check_sizes_leave_images
from transferkit.data.splitting import k_fold
from transferkit.data.table_options import TableOptions, check_column
from transferkit.data.tf_datasets import dataset_splits
from transferkit.data.weights import check_positive
from transferkit.errors import DataError
from transferkit.images.disk_cache import open_disk_cache
from transferkit.images.memory_cache import MemoryImageCache
from transferkit.images.spec import ImageSpec

_DEFAULT_SIZE = (160, 160)
_OF_TABLES = ("label_separator", "label_column", "weight_column")


@suggests_arguments
class DatasetBuilder:
    """A checked description of a data set; `build()` reads the files and returns the `Data`.

    Args:
        source: a folder with one subfolder per class (or with train/ and validation/ or test/ inside); an archive of
            such a folder, or its URL; a CSV file or DataFrame with the columns path, label and, optionally, split and
            group; a pair of lists (paths, labels), where a label that is a list means several labels per image; a pair
            of arrays (images, labels), images (n, height, width, 3), RGB in [0, 255]; a TFRecord file written by
            `write_tfrecord`; a data set of Hugging Face, torchvision, TFDS (`tfds.data_source`) or Grain whose items
            are found by number, or a dictionary of them, one per split; or a tf.data.Dataset of (images, labels).
            Lists, arrays and datasets may have sample weights as a third part.
        validation: another source of the same kind, a fraction of `source` in (0, 1), or a number of images >= 1.
            Defaults to None.
        test: likewise. A fraction or number is taken from the validation images where these have a separate source,
            else from `source`. Defaults to None.
        image_size: int or (height, width), in pixels. Defaults to (160, 160).
        batch_size: int >= 1. Images per batch. Defaults to 32.
        seed: int >= 0. Seed of the splits and of the order of the images. Defaults to 0.
        resize: "stretch", "crop" or "pad"; see `ImageSpec`. Defaults to "stretch".
        image_spec: `ImageSpec`, in place of `image_size` and `resize`. Defaults to None.
        class_names: list of str. The order of the classes, or the names of the classes of arrays and datasets. Defaults
            to the sorted names.
        target: "class", or "number" for labels that are numbers, such as an age, in tables, lists or arrays. Fractions
            are then stratified by the intervals between deciles. Defaults to "class".
        label_separator: str. For tables, the separator between several labels of one image. Defaults to None.
        label_column: str. For tables, the column of the labels, such as "age". Defaults to None, one with a usual name
            such as "label" or "class".
        weight_column: str. For tables, the column of sample weights, finite numbers >= 0 by which the loss of each
            image is multiplied. Images given separately for validation or test without it have the weight 1. Defaults
            to None (no weights).
        subset: a fraction in (0, 1) or a number >= 1 of the images of each class in each split, except a test split
            that is a separate source or that `source` defines, which stays whole. Defaults to None (all).
        balance: None, or "oversample" to repeat training images of small classes. For weights, see
            `Data.class_weight`. Defaults to None.
        on_error: "skip" (unreadable files are listed in the report) or "raise". Defaults to "skip".
        max_skipped_fraction: float in [0, 1]. With a larger fraction of unreadable files, building fails. Defaults to
            0.5.
        cache_images: bool. Whether decoded images are cached on disk, for large images that are trained on
            repeatedly. Defaults to False.
        progress: bool. Whether a progress bar is shown while many files are read. Defaults to True.

    Raises:
        ValueError: when an argument is out of range.

    Example:

    >>> data = DatasetBuilder("images/", validation=0.2, test=0.1).build()  # doctest: +SKIP
    >>> data.class_names  # doctest: +SKIP
    ('cats', 'dogs')
    """

    def __init__(
        self,
        source: Any,
        *,
        validation: Any = None,
        test: Any = None,
        image_size: int | tuple[int, int] = _DEFAULT_SIZE,
        batch_size: int = 32,
        seed: int = 0,
        resize: str = "stretch",
        image_spec: ImageSpec | None = None,
        class_names: Sequence[str] | None = None,
        target: str = "class",
        label_separator: str | None = None,
        label_column: str | None = None,
        weight_column: str | None = None,
        subset: float | int | None = None,
        balance: str | None = None,
        on_error: str = "skip",
        max_skipped_fraction: float = 0.5,
        cache_images: bool = False,
        progress: bool = True,
    ) -> None:
        self.source = source
        self.validation: Any = check_size("validation", validation, "or a separate source")
        self.test: Any = check_size("test", test, "or a separate source")
        self.image_spec: ImageSpec = _image_spec(check_image_size("image_size", image_size), resize, image_spec)
        self.batch_size: int = check_int("batch_size", batch_size)
        self.seed: int = check_int("seed", seed, minimum=0)
        self.class_names: tuple[str, ...] | None = check_class_names(class_names)
        self.target: str = check_choice("target", target, TARGETS)
        self.label_separator = label_separator
        self.label_column: str | None = check_column("label_column", label_column, "age")
        self.weight_column: str | None = check_column("weight_column", weight_column, "weight")
        self.subset: float | int | None = check_size("subset", subset, "or None")
        self.balance: str | None = check_choice("balance", balance, (None, "oversample"))
        self.on_error: str = check_choice("on_error", on_error, ("skip", "raise"))
        self.max_skipped_fraction: float = check_fraction("max_skipped_fraction", max_skipped_fraction)
        self.cache_images: bool = bool(cache_images)
        self.progress: bool = bool(progress)
        self._check_sizes()
        self._check_source()

    def build(self) -> Data:
        """Read the source and return the data set.

        Every file is decoded once, so that training cannot fail on one later; the results are remembered for files that
        do not change.

        Returns:
            A `Data`.

        Raises:
            DataError: when the source is missing, empty, of one class, or has too many unreadable files.
            ImageError: with on_error="raise", for the first unreadable file.
        """
        if isinstance(self.source, tf.data.Dataset):
            return self._from_datasets()
        if arrays.is_arrays(self.source):
            return self._from_arrays()
        source = self._index_and_inspect()
        indexes = assign_splits(source.indexes, self._split_sizes(), source.file_info, self.seed)
        return self._from_indexes(indexes, source)

    def folds(self, count: int) -> Iterator[Data]:
        """Yield `count` data sets for cross-validation: each image is in the validation split of exactly one.

        The test split, if there is one, is the same in all of them.

        Args:
            count: int >= 2. Number of folds.

        Raises:
            ValueError: when the builder has a validation split, or a source other than files.
        """
        count = check_int("count", count, minimum=2)
        if self.validation is not None:
            raise ValueError(f"`validation` must be None for folds. Received: {self.validation!r}.")
        if isinstance(self.source, tf.data.Dataset) or arrays.is_arrays(self.source):
            raise ValueError(f"`source` must be files for folds. Received: {type(self.source).__name__}.")
        source = self._index_and_inspect()
        assigned = assign_splits(source.indexes, self._split_sizes(), source.file_info, self.seed)
        pool = concat([assigned[name] for name in ("train", "validation") if name in assigned])
        groups = split_groups(pool, source.file_info)
        for fold in k_fold(pool.split_keys(), pool.strata(), count, seed=self.seed, groups=groups):
            excluded = set(fold)
            train = pool.take([index for index in range(len(pool)) if index not in excluded])
            yield self._from_indexes({**assigned, "train": train, "validation": pool.take(fold)}, source)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.image_spec.image_size))
        return (
            f"DatasetBuilder({_shown(self.source)}, image_size={size}, batch_size={self.batch_size}, seed={self.seed})"
        )

    def _check_sizes(self) -> None:
        if not self._given_splits():
            check_sizes_leave_images(self.validation, self.test)

    def _check_source(self) -> None:
        """Refuse options that arrays, datasets and numbers cannot honor."""
        if self.target == "number":
            check_number_options(vars(self), is_dataset=isinstance(self.source, tf.data.Dataset))
        if arrays.is_arrays(self.source):
            kind = "arrays, which are used without resizing"
            unsupported: tuple[str, ...] = (
                "resize",
                "label_separator",
                "label_column",
                "weight_column",
                "cache_images",
            )
        elif isinstance(self.source, tf.data.Dataset):
            kind = "a tf.data.Dataset, whose images are not known in advance"
            unsupported = (*_OF_TABLES, "subset", "balance", "cache_images")
        else:
            return
        values = {name: getattr(self, name) for name in unsupported if name != "resize"}
        if "resize" in unsupported and self.image_spec != ImageSpec(self.image_spec.image_size):
            values["resize"] = self.image_spec.resize
        for name, value in values.items():
            if value:
                raise ValueError(f"`{name}` is not supported for {kind}. Received: {value!r}. Remove it.")

    def _split_sizes(self) -> dict[str, float | int]:
        given = {"test": self.test, "validation": self.validation}
        return {name: value for name, value in given.items() if isinstance(value, (int, float))}

    def _given_splits(self) -> dict[str, Any]:
        given = {"validation": self.validation, "test": self.test}
        return {name: value for name, value in given.items() if value is not None and name not in self._split_sizes()}

    def _index_and_inspect(self) -> _IndexedSource:
        """List all files, read those that are new, and move duplicates into one split."""
        options = TableOptions(
            self.label_separator, self.weight_column, self.label_column, numbers=self.target == "number"
        )
        found, notes = index_source(self.source, "source", options, self.class_names)
        indexes = {"train" if name == "all" else name: index for name, index in found.items()}
        if "train" not in indexes:
            raise DataError(f"`source` must have training images. Received: the splits {sorted(indexes)} only.")
        for name in sorted({"validation", "test"} & set(indexes)):
            if (value := getattr(self, name)) is not None:
                raise DataError(
                    f"`{name}` must be None for a source that has this split. Received: {name}={_shown(value)} for a "
                    f"source with {len(indexes[name])} {name} images. Omit it, or use another folder as the source."
                )
        for name, value in self._given_splits().items():
            parts, more = index_source(value, name, options, self.class_names)
            notes += more
            indexes[name] = concat(list(parts.values())) if len(parts) > 1 else next(iter(parts.values()))
        paths = [path for index in indexes.values() for path in index.paths]
        listed = len(paths) + sum(len(index.skipped) for index in indexes.values())
        cache = MemoryImageCache()
        file_info = dict(zip(paths, inspect_files(paths, self.image_spec, cache=cache, progress=self.progress)))
        ignored = [row for index in indexes.values() for row in index.ignored]
        skipped: list[tuple[str, str]] = []
        for name, index in indexes.items():
            indexes[name], unreadable = drop_unreadable(index, file_info)
            skipped += unreadable
        check_skipped(skipped, listed, self.on_error, self.max_skipped_fraction)
        indexes, reassigned = resolve_leaks(indexes, file_info)
        notes_and_rows = {"skipped": skipped, "ignored": ignored, "reassigned": reassigned, "notes": notes}
        return _IndexedSource(indexes, file_info, notes_and_rows, cache)

    def _subsample(self, indexes: dict[str, ImageIndex]) -> dict[str, ImageIndex]:
        """Return the subset of each split, with test images that are not sampled from others left whole."""
        if self.subset is None:
            return indexes
        whole = () if "test" in self._split_sizes() else ("test",)
        return {
            name: index if name in whole else subsample(index, self.subset, self.seed)
            for name, index in indexes.items()
        }

    def _from_indexes(self, indexes: dict[str, ImageIndex], source: _IndexedSource) -> Data:
        indexes = self._subsample(indexes)
        names = resolve_class_names(indexes, self.class_names)
        report = DataReport(**analyze_files(indexes, source.file_info), **source.report_fields)
        if self.balance == "oversample":
            indexes = {**indexes, "train": oversample(indexes["train"], self.seed)}
        multi_label = any(isinstance(label, tuple) for index in indexes.values() for label in index.labels)
        splits = {
            name: Split(
                name,
                encode_labels(index, names, multi_label),
                self.image_spec,
                names,
                paths=index.paths,
                image_cache=self._disk_cache(index, source.file_info) if self.cache_images else None,
                memory_cache=source.memory_cache,
                on_error=self.on_error,
                weights=None if index.weights is None else np.array(index.weights, np.float32),
            )
            for name, index in indexes.items()
        }
        return self._data(splits, names, multi_label, report)

    def _disk_cache(self, index: ImageIndex, file_info: Mapping[str, FileInfo]) -> Any:
        digests = [file_info[path].digest for path in index.paths]
        return open_disk_cache(index.paths, digests, self.image_spec, progress=self.progress)

    def _from_arrays(self) -> Data:
        size = self.image_spec.image_size
        numbers = self.target == "number"
        parts = arrays.validate_arrays({"train": self.source, **self._given_splits()}, size, numbers=numbers)
        indexes: dict[str, ImageIndex] = {}
        file_info: dict[str, FileInfo] = {}
        for name, part in parts.items():
            indexes[name], info = arrays.index_arrays(name, part, self.image_spec, numbers=numbers)
            file_info |= info
        indexes = self._subsample(assign_splits(indexes, self._split_sizes(), file_info, self.seed))
        names = () if numbers else arrays.array_class_names(parts, self.class_names)
        counts = {name: count_labels(arrays.take_rows(index, parts).labels, names) for name, index in indexes.items()}
        if self.balance == "oversample":
            indexes["train"] = oversample(indexes["train"], self.seed)
        splits = {}
        for name, index in indexes.items():
            images, labels, weights = arrays.take_rows(index, parts)
            splits[name] = Split(name, labels, self.image_spec, names, images=images, weights=weights)
        return self._data(splits, names, parts["train"].labels.ndim == 2, DataReport(counts))

    def _from_datasets(self) -> Data:
        if self.class_names is None:
            raise DataError("`class_names` must be given for a tf.data.Dataset. Received: None. Name its classes.")
        given = {"train": self.source, "validation": self.validation, "test": self.test}
        sources = {name: value for name, value in given.items() if value is not None}
        splits = dataset_splits(sources, self.image_spec, self.batch_size, self.class_names)
        labels = splits["train"].dataset.element_spec[1].shape
        multi_label = labels.rank == 2 and labels[-1] != 1
        return self._data(splits, self.class_names, multi_label, DataReport({}))

    def _data(self, splits: dict[str, Split], names: tuple[str, ...], multi_label: bool, report: DataReport) -> Data:
        if self.target == "number":
            check_numbers_differ(splits["train"].labels)
        elif len(names) < 2 and not multi_label:
            raise DataError(
                f"There must be at least two classes. Received: {list(names)}. Put the images of each class into a "
                "separate folder."
            )
        check_positive({name: split.weights for name, split in splits.items()})
        for split in splits.values():
            # An archive that the cache unpacked must not be evicted while its files are used.
            hold_files(split, split.paths or ())
        options: dict[str, Any] = {"multi_label": multi_label, "target": self.target, "label_name": self.label_column}
        return Data(names, report, splits, self.image_spec, self.batch_size, self.seed, **options)


@dataclasses.dataclass(frozen=True)
class _IndexedSource:
    """The readable files of a source, one index per given split."""

    indexes: dict[str, ImageIndex]
    file_info: dict[str, FileInfo]
    report_fields: dict[str, Any]
    memory_cache: MemoryImageCache


def _image_spec(image_size: tuple[int, int], resize: str, image_spec: ImageSpec | None) -> ImageSpec:
    if image_spec is None:
        return ImageSpec(image_size, resize=resize)
    if image_size not in (_DEFAULT_SIZE, image_spec.image_size) or resize not in ("stretch", image_spec.resize):
        raise ValueError(
            f"`image_spec` replaces `image_size` and `resize`. Received: {image_spec}, image_size={image_size} and "
            f"resize={resize!r}. Give either."
        )
    return image_spec


def _shown(source: Any) -> str:
    if isinstance(source, numbers.Real):
        return repr(source)
    return repr(os.fspath(source)) if isinstance(source, (str, os.PathLike)) else type(source).__name__
