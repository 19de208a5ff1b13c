"""What a collection of files shows as a whole: copies, look-alikes, wrong names, sizes."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from transferkit.data.file_info import FileInfo
from transferkit.data.index import EXTENSIONS, ImageIndex

# Bits of 64 in which two pictures may differ and still count as nearly the same.
_MAX_HAMMING_DISTANCE = 3
_SMALL = 32
# In a bucket of more files than this, not each is compared with each: they have something common to all of them.
_MAX_BUCKET = 500


def analyze_files(indexes: Mapping[str, ImageIndex], facts: Mapping[str, FileInfo]) -> dict[str, Any]:
    """Return the fields of a `DataReport` that follow from the files: see there.

    Args:
        indexes: split name to its readable files.
        facts: path to what is known of the file.
    """
    paths = sorted({path for index in indexes.values() for path in index.paths})
    known = [facts[path] for path in paths]
    labels = {path: label for index in indexes.values() for path, label in zip(index.paths, index.labels)}
    split_of = {path: name for name, index in indexes.items() for path in index.paths}
    duplicates = exact_duplicates(paths, [fact.digest for fact in known])
    alike = near_duplicate_groups(paths, known)
    return {
        "counts": {name: _counts(index) for name, index in indexes.items()},
        "duplicates": duplicates,
        "conflicts": [group for group in duplicates if len({labels[path] for path in group}) > 1],
        "near_duplicates": alike,
        "near_duplicate_leaks": [group for group in alike if len({split_of[path] for path in group}) > 1],
        "mislabelled": [(path, why) for path, fact in zip(paths, known) if (why := _extension_mismatch(path, fact))],
        "small": [
            (path, f"{fact.width} x {fact.height}")
            for path, fact in zip(paths, known)
            if min(fact.width, fact.height) < _SMALL
        ],
        "sizes": _sizes(known),
    }


def exact_duplicates(paths: Sequence[str], digests: Sequence[bytes]) -> list[tuple[str, ...]]:
    """Return the groups of paths with the same contents.

    >>> copies(["a", "b", "c"], [b"1", b"2", b"1"])
    [('a', 'c')]
    """
    groups: dict[bytes, list[str]] = defaultdict(list)
    for path, digest in zip(paths, digests):
        groups[digest].append(path)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def near_duplicate_groups(paths: Sequence[str], facts: Sequence[FileInfo]) -> list[tuple[str, ...]]:
    """Return the groups of paths whose perceptual hashes nearly agree, but for exact copies of one picture."""
    first: dict[bytes, int] = {}
    for number, fact in enumerate(facts):
        if fact.look is not None:
            first.setdefault(fact.digest, number)
    numbers = sorted(first.values())
    # Among thousands of pictures that look the same, one stands for all of them.
    looks, places = np.unique(np.array([facts[number].look for number in numbers], np.uint64), return_inverse=True)
    leader = list(range(len(looks)))

    def find(item: int) -> int:
        while leader[item] != item:
            leader[item] = item = leader[leader[item]]
        return item

    for one, other in _near_pairs(looks):
        leader[find(other)] = find(one)
    groups: dict[int, list[str]] = defaultdict(list)
    for number, place in zip(numbers, places.tolist()):
        groups[find(place)].append(paths[number])
    return sorted(tuple(group) for group in groups.values() if len(group) > 1)


def _near_pairs(looks: np.ndarray) -> Iterable[tuple[int, int]]:
    # Two hashes that differ in three bits agree in one at least of four bands of sixteen bits.
    for band in range(_MAX_HAMMING_DISTANCE + 1):
        keys = (looks >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        starts = np.arange(len(keys))
        # Each with its next neighbour in the same bucket, then with the one after that, until no bucket is that long.
        for step in range(1, _MAX_BUCKET):
            starts = starts[starts + step < len(keys)]
            starts = starts[keys[starts] == keys[starts + step]]
            if not len(starts):
                break
            one, other = order[starts], order[starts + step]
            near = _differing_bits(looks[one] ^ looks[other]) <= _MAX_HAMMING_DISTANCE
            yield from zip(one[near].tolist(), other[near].tolist())


def _differing_bits(values: np.ndarray) -> np.ndarray:
    return np.unpackbits(values.reshape(-1, 1).view(np.uint8), axis=1).sum(axis=1, dtype=np.uint8)


def _counts(index: ImageIndex) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for label in index.labels:
        counts.update(label if isinstance(label, tuple) else [label])
    return {name: counts[name] for name in sorted(counts)}


def _extension_mismatch(path: str, fact: FileInfo) -> str:
    claimed = EXTENSIONS.get(os.path.splitext(path)[1].casefold())
    if not fact.format or claimed == fact.format or ".tfrecord@" in path:
        return ""
    return f"its contents are {fact.format}" if claimed else f"it has no extension of an image; it is {fact.format}"


def _sizes(facts: Sequence[FileInfo]) -> dict[str, dict[str, float]]:
    if not facts:
        return {}
    columns = {name: np.array([getattr(fact, name) for fact in facts]) for name in ("height", "width", "bytes")}
    return {
        name: {"smallest": int(values.min()), "median": float(np.median(values)), "largest": int(values.max())}
        for name, values in columns.items()
    }
