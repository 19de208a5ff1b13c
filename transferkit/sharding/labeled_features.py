"""Data of stored features and their labels, from a complete folder of shards."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from transferkit._utils.hashing import fingerprint
from transferkit._utils.progress import Progress
from transferkit.data.array_splitting import sample_ranks, split_rows
from transferkit.data.cells import sorted_names
from transferkit.data.dataset import Data
from transferkit.data.examples import Split
from transferkit.data.labels import count_labels
from transferkit.data.numbers import check_numbers_differ, number_strata, parse_numbers
from transferkit.data.report import DataReport
from transferkit.data.stored_features import StoredFeatures
from transferkit.errors import DataError
from transferkit.images.spec import ImageSpec
from transferkit.sharding.row_files import COLUMNS, RowFiles
from transferkit.sharding.shard_table import FEATURES


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """The arguments of `Shards.to_data`, checked."""

    sizes: Mapping[str, float | int]
    batch_size: int
    seed: int
    class_names: tuple[str, ...] | None
    target: str
    progress: bool


@dataclasses.dataclass(frozen=True)
class _LabeledRows:
    """The rows with features and a label.

    Attributes:
        positions: their numbers among all rows.
        labels: int32 or float32 (n,).
        names: of the classes; empty for numbers.
        ranks: by which they are split.
        skipped: (path, reason) of the others.
    """

    positions: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    ranks: np.ndarray
    skipped: list[tuple[str, str]]


def build_data(shards: Any, options: DataOptions) -> Data:
    """Return the `Data` of an opened folder of features; see `Shards.to_data`."""
    task, files = shards.job.task, RowFiles(fingerprint(*shards.job.identity))
    with Progress("Opening features", len(shards), enabled=options.progress) as bar:
        for number, summary in enumerate(shards.summaries):
            files.add(summary.digest, functools.partial(shards.shard, number, [*COLUMNS, FEATURES]))
            bar.advance(summary.rows)
    rows = _read_rows(shards, files, options)
    array, digests = files.rows(rows.positions)
    spec = ImageSpec.from_dict(task["image_spec"])
    stored = StoredFeatures(array, digests, task["model"], task["precision"])
    whole = Split("train", rows.labels, spec, rows.names, features=stored)
    divided = _divide(rows, digests, options)
    splits = {name: dataclasses.replace(whole.take(chosen), name=name) for name, chosen in divided.items()}
    _check_splits(splits, options)
    counts = {name: count_labels(split.labels, rows.names) for name, split in splits.items()}
    report = DataReport(counts, skipped=rows.skipped)
    return Data(rows.names, report, splits, spec, options.batch_size, options.seed, target=options.target)


def _read_rows(shards: Any, files: RowFiles, options: DataOptions) -> _LabeledRows:
    numbers, labels = range(shards.job.num_shards), _Labels(options)
    base = _common_folder(files.columns(number, ["path"]) for number in numbers)
    positions, ranks, skipped, start = [], [], [], 0
    for number in numbers:
        paths, texts, errors = files.columns(number, COLUMNS)
        reasons = [error or ("it has no label" if not text else None) for text, error in zip(texts, errors)]
        kept = [row for row, reason in enumerate(reasons) if reason is None]
        skipped += [(str(path), reason) for path, reason in zip(paths, reasons) if reason is not None]
        labels.add([texts[row] for row in kept], [paths[row] for row in kept])
        positions.append(start + np.array(kept, np.int64))
        ranks.append(sample_ranks((paths[row][base:].replace(os.sep, "/") for row in kept), options.seed))
        start += len(paths)
    values, names = labels.encoded()
    if not len(values):
        raise DataError(
            f"The shards must have images with labels. Received: {shards.path!r}, with none. Extract the features from "
            "folders of classes, or from a table with a column 'label'."
        )
    return _LabeledRows(np.concatenate(positions), values, names, np.concatenate(ranks), skipped)


class _Labels:
    """Collects labels shard by shard, as numbers: a text for each of millions of rows would take too much memory."""

    def __init__(self, options: DataOptions) -> None:
        self._options = options
        self._numbers: dict[str, int] = {}
        self._parts: list[np.ndarray] = []

    def add(self, texts: Sequence[str], paths: Sequence[str]) -> None:
        """Add the labels of a shard."""
        if self._options.target == "number":
            values = parse_numbers(texts, lambda row: f"the label of {paths[row]!r}")
            self._parts.append(np.array(values, np.float64).astype(np.float32))
        else:
            known = self._numbers
            self._parts.append(np.array([known.setdefault(text, len(known)) for text in texts], np.int32))

    def encoded(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return all labels, and the names of the classes in the order of the labels."""
        labels = np.concatenate(self._parts)
        if self._options.target == "number":
            return labels, ()
        names = self._options.class_names or sorted_names(set(self._numbers), numeric=False)
        unknown = sorted(set(self._numbers) - set(names))
        if unknown:
            raise DataError(f"`class_names` must name all classes. Received: {list(names)}, without {unknown[:5]}.")
        order = {name: position for position, name in enumerate(names)}
        return np.array([order[name] for name in self._numbers], np.int32)[labels], tuple(names)


def _divide(rows: _LabeledRows, digests: np.ndarray, options: DataOptions) -> dict[str, np.ndarray]:
    if not options.sizes:
        return {"train": np.arange(len(rows.labels))}
    strata: tuple[np.ndarray, Sequence[str]] = rows.labels, rows.names
    if options.target == "number":
        intervals = np.array(number_strata(rows.labels.tolist()), int)
        strata = intervals, [str(position) for position in range(intervals.max() + 1)]
    divided = split_rows(rows.ranks, strata, digests, options.sizes, seed=options.seed)
    divided["train"] = divided.pop("remainder")
    return {name: divided[name] for name in ("train", "validation", "test") if name in divided}


def _check_splits(splits: Mapping[str, Split], options: DataOptions) -> None:
    empty = [name for name, split in splits.items() if not len(split)]
    if empty:
        raise DataError(
            f"Every split must have at least one image. Received: none for {empty[0]!r}. Give a larger fraction."
        )
    train = splits["train"]
    if options.target == "number":
        check_numbers_differ(train.labels)
        return
    present = np.bincount(train.labels, minlength=len(train.class_names)) > 0
    missing = [name for name, is_present in zip(train.class_names, present) if not is_present]
    if missing or len(train.class_names) < 2:
        raise DataError(
            f"There must be at least two classes, each with training images. Received: {list(train.class_names)[:10]}, "
            f"without images of {missing[:5]}. Extract the features of all classes."
        )


def _common_folder(paths: Iterator[list[Any]]) -> int:
    """Return the length of the folder that all paths begin with: an image is known by its path inside."""
    folder: str | None = None
    for (names,) in paths:
        # All others begin with what the first and the last of the alphabet begin with.
        for path in (min(names), max(names)):
            folder = _parent(path) if folder is None else folder
            while not path.startswith(folder):
                folder = _parent(folder[:-1])
    return len(folder or "")


def _parent(path: str) -> str:
    return path[: max(path.rfind("/"), path.rfind(os.sep)) + 1]
