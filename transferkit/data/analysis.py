"""Finds exact duplicates, near-duplicates, wrong extensions and unusual sizes in a collection of files."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from transferkit._utils.groups import UnionFind
from transferkit.data.file_info import FileInfo
from transferkit.data.index import EXTENSIONS, ImageIndex
from transferkit.errors import DataError, ImageError

_LOG = logging.getLogger("transferkit")

# Perceptual hashes that differ in at most this many of 64 bits are near-duplicates.
_MAX_HAMMING_DISTANCE = 3
_TINY = 32
# Larger buckets are not compared pairwise: their common bits are common to very many images.
_MAX_BUCKET = 500


def analyze_files(indexes: Mapping[str, ImageIndex], file_info: Mapping[str, FileInfo]) -> dict[str, Any]:
    """Return the fields of a `DataReport` that follow from the files.

    Args:
        indexes: split name to its readable files.
        file_info: path to metadata.
    """
    paths = sorted({path for index in indexes.values() for path in index.paths})
    infos = [file_info[path] for path in paths]
    labels: dict[bytes, set[str | tuple[str, ...]]] = defaultdict(set)
    for index in indexes.values():
        for path, label in zip(index.paths, index.labels):
            labels[file_info[path].digest].add(label)
    split_of = {path: name for name, index in indexes.items() for path in index.paths}
    duplicates = exact_duplicates(paths, [info.digest for info in infos])
    unique = [(path,) for path in sorted(set(paths) - {path for group in duplicates for path in group})]
    near = near_duplicate_groups(paths, infos)
    return {
        "counts": {name: _count_labels(index) for name, index in indexes.items()},
        "duplicates": duplicates,
        "label_conflicts": [group for group in [*duplicates, *unique] if len(labels[file_info[group[0]].digest]) > 1],
        "near_duplicates": near,
        "near_duplicate_leaks": [group for group in near if len({split_of[path] for path in group}) > 1],
        "extension_mismatches": [(p, why) for p, info in zip(paths, infos) if (why := _extension_mismatch(p, info))],
        "tiny_images": [
            (path, f"{info.width} x {info.height}")
            for path, info in zip(paths, infos)
            if min(info.width, info.height) < _TINY
        ],
        "sizes": _size_statistics(infos),
    }


def check_skipped(skipped: Sequence[tuple[str, str]], listed: int, on_error: str, max_fraction: float) -> None:
    """Raise an error for unreadable files (path, reason) of `listed` ones where it is wanted, else warn of them.

    Raises:
        DataError: with a larger fraction than `max_fraction`, or no readable file.
        ImageError: with on_error="raise", for the first file.
    """
    if skipped and on_error == "raise":
        raise ImageError(*skipped[0])
    if not listed or len(skipped) >= listed or len(skipped) > max_fraction * listed:
        examples = "; ".join(f"{path!r}: {reason}" for path, reason in skipped[:3])
        raise DataError(
            f"At most a fraction of {max_fraction:g} of the files may be unreadable (`max_skipped_fraction`), and at "
            f"least one image must remain. Received: {len(skipped)} of {listed} unreadable ({examples})."
        )
    if skipped:
        message = "Skipped %d of %d files that could not be read; see data.report.skipped. The first is %r: %s"
        _LOG.warning(message, len(skipped), listed, *skipped[0])


def exact_duplicates(paths: Sequence[str], digests: Sequence[bytes]) -> list[tuple[str, ...]]:
    """Return the groups of paths with equal contents.

    >>> exact_duplicates(["a", "b", "c"], [b"1", b"2", b"1"])
    [('a', 'c')]
    """
    groups: dict[bytes, list[str]] = defaultdict(list)
    for path, digest in zip(paths, digests):
        groups[digest].append(path)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def near_duplicate_groups(paths: Sequence[str], infos: Sequence[FileInfo]) -> list[tuple[str, ...]]:
    """Return the groups of paths with similar perceptual hashes, without exact duplicates."""
    first: dict[bytes, int] = {}
    for index, info in enumerate(infos):
        if info.perceptual_hash is not None:
            first.setdefault(info.digest, index)
    indices = sorted(first.values())
    # Each distinct hash is compared once, however many images share it.
    hashes = np.array([infos[index].perceptual_hash for index in indices], np.uint64)
    distinct, positions = np.unique(hashes, return_inverse=True)
    sets: UnionFind[int] = UnionFind()
    for one, other in _near_pairs(distinct):
        sets.union(one, other)
    groups: dict[int, list[str]] = defaultdict(list)
    for index, position in zip(indices, positions.tolist()):
        groups[sets.find(position)].append(paths[index])
    return sorted(tuple(group) for group in groups.values() if len(group) > 1)


def _near_pairs(hashes: np.ndarray) -> Iterator[tuple[int, int]]:
    # Two hashes that differ in three bits agree in at least one of four bands of 16 bits.
    for band in range(_MAX_HAMMING_DISTANCE + 1):
        keys = (hashes >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        starts = np.arange(len(keys))
        # Each hash with its next neighbor in the bucket, then with the one after it, until no bucket is that long.
        for step in range(1, _MAX_BUCKET):
            starts = starts[starts + step < len(keys)]
            starts = starts[keys[starts] == keys[starts + step]]
            if not len(starts):
                break
            one, other = order[starts], order[starts + step]
            near = _hamming_weight(hashes[one] ^ hashes[other]) <= _MAX_HAMMING_DISTANCE
            yield from zip(one[near].tolist(), other[near].tolist())


def _hamming_weight(values: np.ndarray) -> np.ndarray:
    return np.unpackbits(values.reshape(-1, 1).view(np.uint8), axis=1).sum(axis=1, dtype=np.uint8)


def _count_labels(index: ImageIndex) -> dict[str, int]:
    if index.numbers:
        return {"numbers": len(index)}
    counts: Counter[str] = Counter()
    for label in index.labels:
        counts.update(label if isinstance(label, tuple) else [label])
    return {name: counts[name] for name in sorted(counts)}


def _extension_mismatch(path: str, info: FileInfo) -> str:
    claimed = EXTENSIONS.get(os.path.splitext(path)[1].casefold())
    if not info.format or claimed == info.format or ".tfrecord@" in path:
        return ""
    return (
        f"its contents are {info.format}" if claimed else f"it has no image extension; its contents are {info.format}"
    )


def _size_statistics(infos: Sequence[FileInfo]) -> dict[str, dict[str, float]]:
    if not infos:
        return {}
    attributes = {"height": "height", "width": "width", "bytes": "num_bytes"}
    columns = {name: np.array([getattr(info, key) for info in infos]) for name, key in attributes.items()}
    return {
        name: {"smallest": int(values.min()), "median": float(np.median(values)), "largest": int(values.max())}
        for name, values in columns.items()
    }
