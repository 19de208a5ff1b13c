"""Assigns indexed images to splits: duplicates stay together, fractions are sampled, subsets and oversampling."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from transferkit.data.cells import SPLITS
from transferkit.data.file_info import FileInfo
from transferkit.data.index import ImageIndex, concat
from transferkit.data.splitting import merge_groups, sample_hash, stratified_split, stratum_labels
from transferkit.errors import DataError

# A duplicate goes to the split that is kept from training.
_PRECEDENCE = ("test", "validation", "train")


def partition_by_split(index: ImageIndex) -> dict[str, ImageIndex]:
    """Divide an index by its own column of splits; an example without one is for training."""
    members: dict[str, list[int]] = defaultdict(list)
    for number, split in enumerate(index.splits or [None] * len(index)):
        members[split or "train"].append(number)
    return {name: index.take(members[name]) for name in SPLITS if name in members}


def split_groups(index: ImageIndex, file_info: Mapping[str, FileInfo]) -> list[str]:
    """Return the groups that must stay together: the user's groups merged with exact duplicates."""
    return merge_groups(index.groups, [file_info[path].digest for path in index.paths])


def resolve_leaks(
    indexes: Mapping[str, ImageIndex], file_info: Mapping[str, FileInfo]
) -> tuple[dict[str, ImageIndex], list[tuple[str, str]]]:
    """Move training images that also are in validation or test to that split.

    Returns:
        The indexes, and (path, reason) of every image moved.
    """
    names = [name for name in _PRECEDENCE if name in indexes]
    combined = concat([indexes[name] for name in names])
    source_splits = [name for name in names for _ in range(len(indexes[name]))]
    owner: dict[str, tuple[str, str]] = {}
    members: dict[str, list[int]] = defaultdict(list)
    reassigned = []
    for number, (group, split) in enumerate(zip(split_groups(combined, file_info), source_splits)):
        path = combined.paths[number]
        first, first_path = owner.setdefault(group, (split, path))
        members[first].append(number)
        if first != split:
            is_duplicate = file_info[first_path].digest == file_info[path].digest
            why = "a duplicate" if is_duplicate else "another image of its group"
            reassigned.append((path, f"from {split} to {first}, which has {why}: {first_path!r}"))
    return {name: combined.take(members[name]).sorted() for name in indexes}, reassigned


def assign_splits(
    indexes: Mapping[str, ImageIndex],
    sizes: Mapping[str, float | int],
    file_info: Mapping[str, FileInfo],
    seed: int,
) -> dict[str, ImageIndex]:
    """Sample the splits that are given as fractions or counts from those that have their own images.

    A fraction for the test split is taken from the validation images where these have a separate source.
    """
    assigned = dict(indexes)
    # The test split first, so that it does not depend on the size of the validation split.
    pools = {"test": "validation" if "validation" in indexes else "train", "validation": "train"}
    for pool in ("train", "validation"):
        sampled = {name: sizes[name] for name in ("test", "validation") if name in sizes and pools[name] == pool}
        if sampled:
            index = indexes[pool]
            groups, keys = split_groups(index, file_info), index.split_keys()
            parts = stratified_split(keys, index.strata(), sampled, seed=seed, groups=groups)
            assigned[pool] = index.take(parts.pop("remainder"))
            assigned.update({split: index.take(members) for split, members in parts.items()})
    for split, index in assigned.items():
        if not len(index):
            raise DataError(
                f"Every split must have at least one image. Received: none for {split!r}. Give a larger fraction, or "
                "check whether all of its images are duplicates of validation or test images."
            )
    return {split: assigned[split] for split in SPLITS if split in assigned}


def subsample(index: ImageIndex, size: float | int, seed: int) -> ImageIndex:
    """Return a fraction in (0, 1) or a number of images of each class; a larger subset contains every smaller one."""
    chosen: list[int] = []
    for members in _by_class(index).values():
        members.sort(key=lambda number: sample_hash(seed, index.sample_ids[number]))
        chosen += members[: math.ceil(size * len(members)) if size < 1 else int(size)]
    return index.take(sorted(chosen))


def oversample(index: ImageIndex, seed: int) -> ImageIndex:
    """Repeat images of the smaller classes until each class has as many as the largest."""
    by_class = _by_class(index)
    most = max(map(len, by_class.values()))
    chosen: list[int] = []
    for members in by_class.values():
        times, extra = divmod(most, len(members))
        chosen += members * times
        chosen += sorted(members, key=lambda number: sample_hash(seed, index.sample_ids[number]))[:extra]
    return index.take(sorted(chosen))


def drop_unreadable(index: ImageIndex, file_info: Mapping[str, FileInfo]) -> tuple[ImageIndex, list[tuple[str, str]]]:
    """Return the index of the readable files, and (path, reason) of the others."""
    unreadable = [(path, str(file_info[path].error)) for path in index.paths if file_info[path].error is not None]
    readable = index.take([i for i, path in enumerate(index.paths) if file_info[path].error is None])
    return dataclasses.replace(readable, skipped=()), [*index.skipped, *unreadable]


def _by_class(index: ImageIndex) -> dict[str, list[int]]:
    members: dict[str, list[int]] = defaultdict(list)
    # A subset of numbers is one of all images.
    labels: Sequence[str] = [""] * len(index) if index.numbers else stratum_labels(index.labels)
    for number, label in enumerate(labels):
        members[label].append(number)
    return members
