"""From indexes of files to splits: unreadable files out, copies on one side, shares drawn, labels as numbers."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from transferkit.data.file_info import FileInfo
from transferkit.data.index import ImageIndex
from transferkit.data.splitting import merge_groups, sample_hash, stratified_split, stratum_labels
from transferkit.errors import DataError

SPLITS = ("train", "validation", "test")
# Held-out images come first: a copy goes where the image is kept from training.
_PRECEDENCE = ("test", "validation", "train")


def partition_by_split(index: ImageIndex) -> dict[str, ImageIndex]:
    """Part an index as its own column of splits says; what names none is for training."""
    members: dict[str, list[int]] = defaultdict(list)
    for number, split in enumerate(index.splits or [None] * len(index)):
        members[split or "train"].append(number)
    return {name: index.take(members[name]) for name in SPLITS if name in members}


def split_groups(index: ImageIndex, facts: Mapping[str, FileInfo]) -> list[str]:
    """Return what must not be parted: the user's groups, and copies of one picture; joined where they touch."""
    return merge_groups(index.groups, [facts[path].digest for path in index.paths])


def resolve_leaks(
    indexes: Mapping[str, ImageIndex], facts: Mapping[str, FileInfo]
) -> tuple[dict[str, ImageIndex], list[tuple[str, str]]]:
    """Move training images that are held out, too, over to the side that holds them out.

    Returns:
        The indexes, and (path, reason) of every image moved. No image that the user held out is ever trained on.
    """
    names = [name for name in _PRECEDENCE if name in indexes]
    whole = indexes[names[0]]
    for name in names[1:]:
        whole = whole.concat(indexes[name])
    homes = [name for name in names for _ in range(len(indexes[name]))]
    owner: dict[str, tuple[str, str]] = {}
    members: dict[str, list[int]] = defaultdict(list)
    reassigned = []
    for number, (group, split) in enumerate(zip(split_groups(whole, facts), homes)):
        first, path = owner.setdefault(group, (split, whole.paths[number]))
        members[first].append(number)
        if first != split:
            same = facts[path].digest == facts[whole.paths[number]].digest
            why = "has a copy of it" if same else "has another image of its group"
            reassigned.append((whole.paths[number], f"from {split} to {first}, which {why}: {path!r}"))
    return {name: whole.take(members[name]).sorted() for name in indexes}, reassigned


def assign_splits(
    indexes: Mapping[str, ImageIndex],
    amounts: Mapping[str, float | int],
    facts: Mapping[str, FileInfo],
    seed: int,
) -> dict[str, ImageIndex]:
    """Draw the splits that are given as shares or numbers out of those that have images of their own.

    A share for the test comes out of the validation images where those are a source of their own.
    """
    divided = dict(indexes)
    # The test first, so that it stays the same when the share for validation changes.
    pools = {"test": "validation" if "validation" in indexes else "train", "validation": "train"}
    for pool in ("train", "validation"):
        wanted = {
            split: amounts[split] for split in ("test", "validation") if split in amounts and pools[split] == pool
        }
        if wanted:
            index = indexes[pool]
            parts = stratified_split(index.names, index.labels, wanted, seed=seed, groups=split_groups(index, facts))
            divided[pool] = index.take(parts.pop("rest"))
            divided.update({split: index.take(numbers) for split, numbers in parts.items()})
    for split, index in divided.items():
        if not len(index):
            raise DataError(
                f"Every split must hold an image at least. Received: none for {split!r}. Give it a larger share, or "
                "look whether all of its images are copies of held-out ones."
            )
    return {split: divided[split] for split in SPLITS if split in divided}


def subsample(index: ImageIndex, amount: float | int, seed: int) -> ImageIndex:
    """Return a share in (0, 1) of each class's images, or that many of each; a larger part holds every smaller one."""
    members: dict[str, list[int]] = defaultdict(list)
    for number, label in enumerate(stratum_labels(index.labels)):
        members[label].append(number)
    chosen: list[int] = []
    for numbers in members.values():
        numbers.sort(key=lambda number: sample_hash(seed, index.names[number]))
        chosen += numbers[: math.ceil(amount * len(numbers)) if amount < 1 else int(amount)]
    return index.take(sorted(chosen))


def oversample(index: ImageIndex, seed: int) -> ImageIndex:
    """Repeat the images of the smaller classes, until each class has as many as the largest."""
    members: dict[str, list[int]] = defaultdict(list)
    for number, label in enumerate(stratum_labels(index.labels)):
        members[label].append(number)
    most = max(map(len, members.values()))
    chosen: list[int] = []
    for numbers in members.values():
        times, extra = divmod(most, len(numbers))
        chosen += numbers * times + sorted(numbers, key=lambda number: sample_hash(seed, index.names[number]))[:extra]
    return index.take(sorted(chosen))


def resolve_class_names(indexes: Mapping[str, ImageIndex], given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the class names in the order of the labels: as given, or sorted.

    Raises:
        DataError: when they are not those of the images.
    """
    found = sorted({name for index in indexes.values() for name in index.class_names()})
    names = tuple(found if given is None else given)
    unknown = sorted(set(found) - set(names))
    if unknown:
        raise DataError(f"`class_names` must name all classes. Received: {list(names)}, without {unknown[:5]}.")
    trained = set(indexes["train"].class_names())
    missing = [name for name in names if name not in trained]
    if missing:
        raise DataError(
            f"Every class must have images to train on. Received: none for {missing[:5]}. Check that all splits have "
            "the same class folders."
        )
    return names


def encode_labels(index: ImageIndex, class_names: Sequence[str], multi_label: bool) -> np.ndarray:
    """Return the labels as numbers: int32 (n,), or float32 (n, classes) of zeros and ones."""
    numbers = {name: number for number, name in enumerate(class_names)}
    if not multi_label:
        return np.array([numbers[str(label)] for label in index.labels], np.int32)
    encoded = np.zeros((len(index), len(class_names)), np.float32)
    for row, label in zip(encoded, index.labels):
        row[[numbers[name] for name in (label if isinstance(label, tuple) else (label,))]] = 1
    return encoded


def drop_unreadable(index: ImageIndex, facts: Mapping[str, FileInfo]) -> tuple[ImageIndex, list[tuple[str, str]]]:
    """Return the readable files, and (path, reason) of the others."""
    lost = [(path, str(facts[path].error)) for path in index.paths if facts[path].error is not None]
    kept = index.take([number for number, path in enumerate(index.paths) if facts[path].error is None])
    return dataclasses.replace(kept, skipped=()), [*index.skipped, *lost]
