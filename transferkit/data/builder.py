"""From photographs, however they are kept, to a data set with splits."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from transferkit._checks import check_fraction, check_image_size, check_int
from transferkit.data.facts import FileFact, facts_of
from transferkit.data.index import Index, index_folder, split_folders
from transferkit.data.pipeline import evaluation_dataset, training_dataset
from transferkit.data.pixels import PixelSpec
from transferkit.data.records import Data, Split
from transferkit.data.report import DataReport
from transferkit.data.sources import index_lists, index_table, is_table
from transferkit.data.split import divide
from transferkit.errors import DataError, ImageError

__all__ = ["DatasetBuilder"]

SPLITS = ("train", "validation", "test")
ON_ERROR = ("skip", "raise")


class DatasetBuilder:
    """A checked description of a data set; `build()` reads the files and makes it.

    Args:
        source: a folder with one folder a class (or with train/ and validation/ or test/ inside); a CSV file or
            DataFrame with the columns path, label and, if there, split and group; a pair of lists (paths, labels);
            a pair of arrays (images, labels) with images (n, height, width, 3), RGB in [0, 255]; or a
            tf.data.Dataset of batches (images, labels).
        validation: another source of the same kinds; or a share of `source` in (0, 1), or a number of images.
        test: likewise. A share or number is taken from the validation images where these are a source of their
            own, else from `source`.
        image_size: (height, width) in pixels, or one number for both.
        batch_size: images in a batch.
        seed: integer of at least 0: of the splits and the order.
        resize: "stretch", "crop" or "pad"; see `PixelSpec`.
        interpolation: as `tf.image.resize` names it.
        antialias: whether shrinking averages over all pixels.
        class_names: the classes in the order wanted; by default sorted. For arrays and datasets: their names.
        label_separator: for tables, what stands between several labels of one image.
        on_error: "skip" leaves unreadable files aside and lists them in the report; "raise" stops at the first.
        max_skipped: largest share of unreadable files, in [0, 1]; with more, building stops with an error.
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
        interpolation: str = "bilinear",
        antialias: bool = False,
        class_names: Sequence[str] | None = None,
        label_separator: str | None = None,
        on_error: str = "skip",
        max_skipped: float = 0.5,
        progress: bool = True,
    ) -> None:
        self.source = source
        self.validation = _checked_amount("validation", validation)
        self.test = _checked_amount("test", test)
        size = check_image_size("image_size", image_size)
        self.pixels = PixelSpec(size, resize=resize, interpolation=interpolation, antialias=antialias)
        self.batch_size = check_int("batch_size", batch_size)
        self.seed = check_int("seed", seed, minimum=0)
        self.class_names = None if class_names is None else tuple(map(str, class_names))
        self.label_separator = label_separator
        if on_error not in ON_ERROR:
            raise ValueError(f"`on_error` must be one of 'skip', 'raise'. Received: {on_error!r}.")
        self.on_error = on_error
        self.max_skipped = check_fraction("max_skipped", max_skipped)
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
            return self._build_from_datasets()
        if _is_arrays(self.source):
            return self._build_from_arrays()
        return self._build_from_files()

    def __repr__(self) -> str:
        size = "x".join(map(str, self.pixels.image_size))
        return (
            f"DatasetBuilder({_named(self.source)}, image_size={size}, batch_size={self.batch_size}, seed={self.seed})"
        )

    # Files: list them, read them, divide them.

    def _build_from_files(self) -> Data:
        indexes = self._indexes()
        facts: dict[str, FileFact] = {}
        skipped: list[tuple[str, str]] = []
        for name, index in indexes.items():
            kept, lost = self._readable(index, facts)
            skipped += [*index.skipped, *lost]
            indexes[name] = kept
        self._check_share(sum(map(len, indexes.values())), skipped)
        moved: list[tuple[str, str]] = []
        divided = self._divide(indexes, facts, moved)
        class_names = self._names_of(divided)
        multi_label = any(isinstance(label, tuple) for index in divided.values() for label in index.labels)
        splits = {
            name: Split(
                name,
                _encode(index, class_names, multi_label),
                self.pixels,
                paths=index.paths,
                on_error=self.on_error,
            )
            for name, index in divided.items()
        }
        duplicates = _duplicates(divided, facts)
        return self._data(splits, class_names, multi_label, tuple(skipped), tuple(moved), duplicates)

    def _indexes(self) -> dict[str, Index]:
        """Return one index for each split that the source, or the arguments, keep apart."""
        inside = split_folders(self.source) if isinstance(self.source, (str, os.PathLike)) else {}
        if inside:
            given = {name: index_folder(folder) for name, folder in inside.items()}
        else:
            index = self._index(self.source)
            given = {"train": index} if index.splits is None else _by_split(index)
        for name, value in (("validation", self.validation), ("test", self.test)):
            if value is not None and not isinstance(value, (int, float)):
                given[name] = self._index(value)
        return given

    def _index(self, source: Any) -> Index:
        if is_table(source):
            return index_table(source, self.label_separator)
        if isinstance(source, (str, os.PathLike)):
            return index_folder(source)
        if isinstance(source, (tuple, list)) and len(source) == 2:
            return index_lists(*source)
        raise DataError(
            "`source` must be a folder, a CSV file, a DataFrame, lists (paths, labels), arrays (images, labels) or a "
            f"tf.data.Dataset. Received: {type(source).__name__}."
        )

    def _readable(self, index: Index, facts: dict[str, FileFact]) -> tuple[Index, list[tuple[str, str]]]:
        found = facts_of(index.paths, self.pixels, progress=self.progress)
        facts.update(zip(index.paths, found))
        lost = [(path, fact.error) for path, fact in zip(index.paths, found) if fact.error is not None]
        if lost and self.on_error == "raise":
            raise ImageError(*lost[0])
        return index.take([number for number, fact in enumerate(found) if fact.error is None]), lost

    def _check_share(self, read: int, skipped: list[tuple[str, str]]) -> None:
        lost = len(skipped)
        if read == 0 or lost / (read + lost) > self.max_skipped:
            examples = "; ".join(f"{path!r}: {reason}" for path, reason in skipped[:3])
            raise DataError(
                f"At most a share of {self.max_skipped:g} of the files may be unreadable (`max_skipped`), and one image "
                f"at least must be left. Received: {lost} of {read + lost} unreadable ({examples})."
            )

    def _divide(
        self, indexes: dict[str, Index], facts: dict[str, FileFact], moved: list[tuple[str, str]]
    ) -> dict[str, Index]:
        amounts = {
            name: value
            for name, value in (("test", self.test), ("validation", self.validation))
            if isinstance(value, (int, float))
        }
        own = _with_leaks_moved(indexes, facts, moved)
        # A share for the test comes out of the validation images where those are a source of their own.
        pools = {"test": "validation" if "validation" in own and "validation" not in amounts else "train"}
        pools["validation"] = "train"
        for pool in ("train", "validation"):
            wanted = {name: amount for name, amount in amounts.items() if pools[name] == pool}
            if wanted and pool in own:
                own.update(_drawn(own.pop(pool), pool, wanted, facts, self.seed))
        for name in SPLITS:
            if name in own and not len(own[name]):
                raise DataError(
                    f"Every split must hold an image at least. Received: none for {name!r}. Give it a larger share."
                )
        return {name: own[name] for name in SPLITS if name in own}

    def _names_of(self, divided: dict[str, Index]) -> tuple[str, ...]:
        found = tuple(sorted({name for index in divided.values() for name in index.class_names()}))
        names = self.class_names or found
        unknown = sorted(set(found) - set(names))
        if unknown:
            raise DataError(f"`class_names` must name all classes. Received: none for {unknown[:5]}.")
        missing = sorted(set(names) - set(divided["train"].class_names()))
        if missing:
            raise DataError(
                f"Every class must have images to train on. Received: none for {missing[:5]}. Check that all splits have "
                "the same class folders."
            )
        return names

    # Arrays and datasets.

    def _build_from_arrays(self) -> Data:
        given = {"train": _arrays("source", self.source)}
        for name, value in (("validation", self.validation), ("test", self.test)):
            if value is not None and not isinstance(value, (int, float)):
                given[name] = _arrays(name, value)
        amounts = {
            name: value
            for name, value in (("test", self.test), ("validation", self.validation))
            if isinstance(value, (int, float))
        }
        pool = "validation" if "validation" in given and "test" in amounts else "train"
        if amounts:
            images, labels = given.pop(pool)
            names = [key.hex() for key in Split("", labels, self.pixels, images=images).keys()]
            parts = divide(names, [str(label) for label in labels], amounts, seed=self.seed, groups=names)
            given[pool] = images[parts["rest"]], labels[parts["rest"]]
            given.update({name: (images[parts[name]], labels[parts[name]]) for name in amounts})
        self._check_array_size(given["train"][0])
        splits = {
            name: Split(name, given[name][1], self.pixels, images=given[name][0]) for name in SPLITS if name in given
        }
        multi_label = given["train"][1].ndim == 2
        return self._data(splits, self._array_names(given, multi_label), multi_label)

    def _check_array_size(self, images: np.ndarray) -> None:
        if images.shape[1:3] != self.pixels.image_size:
            size = tuple(images.shape[1:3])
            raise DataError(
                f"`image_size` must be that of the arrays. Received: {self.pixels.image_size} for images of {size}. "
                f"Give image_size={size}."
            )

    def _array_names(self, given: dict[str, tuple[np.ndarray, np.ndarray]], multi_label: bool) -> tuple[str, ...]:
        labels = given["train"][1]
        count = labels.shape[1] if multi_label else 1 + max(int(part[1].max()) for part in given.values())
        names = self.class_names or tuple(str(index) for index in range(count))
        if len(names) < count:
            raise DataError(f"`class_names` must name {count} classes. Received: {list(names)}.")
        return names

    def _build_from_datasets(self) -> Data:
        given = {"train": self.source, "validation": self.validation, "test": self.test}
        for name, dataset in given.items():
            if dataset is not None and not isinstance(dataset, tf.data.Dataset):
                raise DataError(
                    f"`{name}` must be a tf.data.Dataset, as `source` is one: a dataset cannot be divided without leaks. "
                    f"Received: {dataset!r}."
                )
        if self.class_names is None:
            raise DataError("`class_names` must be given with a tf.data.Dataset, which does not know them.")
        multi_label = len(self.source.element_spec[1].shape) == 2 and self.source.element_spec[1].shape[-1] != 1
        splits = {
            name: Split(name, np.zeros(0, np.int32), self.pixels, stream=dataset)
            for name, dataset in given.items()
            if dataset is not None
        }
        return self._data(splits, self.class_names, multi_label)

    def _data(
        self,
        splits: dict[str, Split],
        class_names: tuple[str, ...],
        multi_label: bool,
        skipped: tuple[tuple[str, str], ...] = (),
        moved: tuple[tuple[str, str], ...] = (),
        duplicates: tuple[tuple[str, ...], ...] = (),
    ) -> Data:
        if len(class_names) < 2 and not multi_label:
            raise DataError(
                f"There must be at least two classes. Received: {list(class_names)}. Put each class's images into a "
                "folder of its own."
            )
        counts = {name: _count(split, class_names) for name, split in splits.items() if split.stream is None}
        return Data(
            train=self._batches(splits["train"], training=True),
            validation=self._batches(splits["validation"]) if "validation" in splits else None,
            test=self._batches(splits["test"]) if "test" in splits else None,
            class_names=class_names,
            report=DataReport(counts, skipped, moved, duplicates),
            splits=splits,
            pixels=self.pixels,
            batch_size=self.batch_size,
            seed=self.seed,
            multi_label=multi_label,
        )

    def _batches(self, split: Split, *, training: bool = False) -> tf.data.Dataset:
        if split.stream is not None:
            return split.stream
        if training:
            return training_dataset(split, batch_size=self.batch_size, seed=self.seed)
        return evaluation_dataset(split, batch_size=self.batch_size)


def _checked_amount(name: str, value: Any) -> Any:
    if (
        isinstance(value, bool)
        or (isinstance(value, float) and not 0 < value < 1)
        or (isinstance(value, int) and value < 1)
    ):
        raise ValueError(
            f"`{name}` must be a share in (0, 1), a number of images of at least 1, or a source of its own. "
            f"Received: {value!r}."
        )
    return value


def _is_arrays(source: Any) -> bool:
    return isinstance(source, (tuple, list)) and len(source) == 2 and getattr(source[0], "ndim", 0) == 4


def _arrays(name: str, source: Any) -> tuple[np.ndarray, np.ndarray]:
    if not _is_arrays(source):
        raise DataError(f"`{name}` must be arrays (images, labels), as `source` is. Received: {type(source).__name__}.")
    images, labels = np.asarray(source[0]), np.asarray(source[1])
    if images.shape[-1] != 3 or len(images) != len(labels) or len(images) == 0:
        raise DataError(
            f"`{name}` must be images (n, height, width, 3) and n labels. Received: images {images.shape} and labels "
            f"{labels.shape}."
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    return images, labels.astype(np.int32 if labels.ndim == 1 else np.float32)


def _by_split(index: Index) -> dict[str, Index]:
    assert index.splits is not None
    members: dict[str, list[int]] = defaultdict(list)
    for number, split in enumerate(index.splits):
        members[split or "train"].append(number)
    return {name: index.take(numbers) for name, numbers in members.items()}


def _with_leaks_moved(
    indexes: dict[str, Index], facts: dict[str, FileFact], moved: list[tuple[str, str]]
) -> dict[str, Index]:
    """Move held-out files whose very contents are trained on over to the training side."""
    seen = {facts[path].digest: path for path in indexes["train"].paths}
    result = dict(indexes)
    for name in ("validation", "test"):
        index = result.get(name)
        if index is None:
            continue
        leaks = [number for number, path in enumerate(index.paths) if facts[path].digest in seen]
        moved += [(index.paths[n], f"{name} held a copy of {seen[facts[index.paths[n]].digest]!r}") for n in leaks]
        stay = sorted(set(range(len(index))) - set(leaks))
        result[name] = index.take(stay)
        result["train"] = _joined(result["train"], index.take(leaks))
        seen.update({facts[index.paths[number]].digest: index.paths[number] for number in stay})
    return result


def _joined(first: Index, second: Index) -> Index:
    if not len(second):
        return first
    return Index(first.paths + second.paths, first.names + second.names, first.labels + second.labels)


def _drawn(
    index: Index, pool: str, amounts: dict[str, float | int], facts: dict[str, FileFact], seed: int
) -> dict[str, Index]:
    parts = divide(index.names, index.labels, amounts, seed=seed, groups=_groups(index, facts))
    rest = index.take(parts.pop("rest"))
    return {pool: rest, **{name: index.take(numbers) for name, numbers in parts.items()}}


def _groups(index: Index, facts: dict[str, FileFact]) -> list[Any]:
    """Return what must not be parted: the user's groups, and copies of one picture; joined where they touch."""
    groups: list[Any] = [facts[path].digest for path in index.paths]
    if index.groups is None:
        return groups
    leader: dict[Any, Any] = {}

    def find(item: Any) -> Any:
        while leader.setdefault(item, item) != item:
            item = leader[item]
        return item

    for digest, group in zip(groups, index.groups):
        leader[find(digest)] = find(("group", group))
    return [find(digest) for digest in groups]


def _encode(index: Index, class_names: tuple[str, ...], multi_label: bool) -> np.ndarray:
    numbers = {name: number for number, name in enumerate(class_names)}
    if not multi_label:
        return np.array([numbers[str(label)] for label in index.labels], np.int32)
    encoded = np.zeros((len(index), len(class_names)), np.float32)
    for row, label in zip(encoded, index.labels):
        row[[numbers[name] for name in (label if isinstance(label, tuple) else (label,))]] = 1
    return encoded


def _duplicates(divided: dict[str, Index], facts: dict[str, FileFact]) -> tuple[tuple[str, ...], ...]:
    copies: dict[bytes, list[str]] = defaultdict(list)
    for index in divided.values():
        for path in index.paths:
            copies[facts[path].digest].append(path)
    return tuple(tuple(paths) for paths in copies.values() if len(paths) > 1)


def _count(split: Split, class_names: tuple[str, ...]) -> dict[str, int]:
    if split.labels.ndim == 2:
        counts = split.labels.sum(axis=0).astype(int)
    else:
        counts = np.bincount(split.labels, minlength=len(class_names))
    return dict(zip(class_names, map(int, counts)))


def _named(source: Any) -> str:
    return repr(os.fspath(source)) if isinstance(source, (str, os.PathLike)) else type(source).__name__
