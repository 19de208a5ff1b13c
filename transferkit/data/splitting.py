"""Divides examples into splits: disjoint, stratified, the same on every machine.

Examples are ranked by hash(seed, sample id). Within a class the ranks are cut at counts that follow from the size of
the class alone, so the splits depend neither on the machine nor on the order in which files are listed, and adding a
file moves at most one other across each boundary.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

from transferkit._utils.groups import UnionFind
from transferkit.errors import DataError

Label = str | tuple[str, ...]


def sample_hash(seed: int, sample_id: str) -> bytes:
    """Return the hash of a seed and a sample id by which examples are ranked.

    >>> sample_hash(0, "cats/1.jpg") == sample_hash(0, "cats/1.jpg"), sample_hash(0, "a") == sample_hash(1, "a")
    (True, False)
    """
    # Some file systems store an accented letter as two code points.
    sample_id = unicodedata.normalize("NFC", sample_id)
    return hashlib.blake2b(f"{seed}\0{sample_id}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def stratified_split(
    sample_ids: Sequence[str],
    labels: Sequence[Label],
    sizes: Mapping[str, float | int],
    *,
    seed: int,
    groups: Sequence[str | None] | None = None,
) -> dict[str, list[int]]:
    """Divide examples into splits with the same fraction of every class in each.

    `sizes` maps a split to a fraction in (0, 1) or a number of examples; examples with the same group stay together.
    Returns split -> sorted indices; the rest, at least one example per class, is under "remainder".

    >>> stratified_split(["a", "b", "c", "d"], ["x", "x", "y", "y"], {"test": 0.5}, seed=0)
    {'test': [0, 3], 'remainder': [1, 2]}
    """
    by_class = _groups_by_class(sample_ids, labels, seed, groups)
    class_sizes = {label: sum(map(len, members)) for label, members in by_class.items()}
    cutoffs = split_cutoffs(class_sizes, sizes, seed)
    divided: dict[str, list[int]] = {split: [] for split in [*sizes, "remainder"]}
    for label, members in by_class.items():
        cuts = [(split, cutoffs[split][label]) for split in sizes]
        for midpoint, group in _with_midpoints(members):
            split = next((split for split, cutoff in cuts if midpoint <= cutoff), "remainder")
            divided[split].extend(group)
    return {split: sorted(indices) for split, indices in divided.items()}


def k_fold(
    sample_ids: Sequence[str],
    labels: Sequence[Label],
    folds: int,
    *,
    seed: int,
    groups: Sequence[str | None] | None = None,
) -> list[list[int]]:
    """Return the indices of `folds` disjoint parts, stratified, with groups kept together.

    >>> k_fold(["a", "b", "c", "d"], ["x", "x", "y", "y"], 2, seed=0)
    [[0, 3], [1, 2]]
    """
    parts: list[list[int]] = [[] for _ in range(folds)]
    for label, members in _groups_by_class(sample_ids, labels, seed, groups).items():
        size, shift = sum(map(len, members)), _uniform(seed, label)
        # Each class rounds by its own shift, so that the surplus examples of many classes do not meet in one fold.
        cuts = [math.floor(fold * size / folds + shift) for fold in range(1, folds)] + [size]
        for midpoint, group in _with_midpoints(members):
            parts[next(fold for fold, cut in enumerate(cuts) if midpoint <= cut)].extend(group)
    if not all(parts):
        raise DataError(
            f"Every fold must have at least one image. Received: {folds} folds for {len(sample_ids)} images, of which "
            f"{sum(not part for part in parts)} have none. Give a smaller number of folds."
        )
    return [sorted(part) for part in parts]


def merge_groups(groups: Sequence[str | None] | None, digests: Sequence[bytes]) -> list[str]:
    """Return groups that keep both the user's groups and exact duplicates together.

    >>> merge_groups(["p1", "p1", None, "p2"], [b"a", b"b", b"b", b"c"])
    ['p1', 'p1', 'p1', 'p2']
    """
    sets: UnionFind[Hashable] = UnionFind()
    for digest, group in zip(digests, groups or [None] * len(digests)):
        if group is not None:
            sets.union(("group", group), ("digest", digest))
    names: dict[Hashable, str] = {}
    for group in filter(None, groups or ()):
        root = sets.find(("group", group))
        names[root] = min(group, names.get(root, group))
    return [names.get(sets.find(("digest", digest)), digest.hex()) for digest in digests]


def stratum_labels(labels: Sequence[Label]) -> list[str]:
    """Return the label by which each example is stratified: its class, or the rarest of its labels."""
    counts = Counter(name for label in labels if isinstance(label, tuple) for name in label)
    return [
        min(label, key=lambda name: (counts[name], name), default="") if isinstance(label, tuple) else label
        for label in labels
    ]


def _groups_by_class(
    sample_ids: Sequence[str], labels: Sequence[Label], seed: int, groups: Sequence[str | None] | None
) -> dict[str, list[list[int]]]:
    """Return for each class its groups in the order of their hashes; a group belongs to its most frequent class."""
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index in sorted(range(len(sample_ids)), key=lambda index: sample_ids[index]):
        group = None if groups is None else groups[index]
        members[index if group is None else group].append(index)
    strata = stratum_labels(labels)
    by_class: dict[str, list[tuple[bytes, str, list[int]]]] = defaultdict(list)
    for indices in members.values():
        counts = Counter(strata[index] for index in indices)
        label = min(counts, key=lambda name: (-counts[name], name))
        # Examples of a table can have one sample id; then the group, which follows from the contents, decides.
        group = (None if groups is None else groups[indices[0]]) or ""
        by_class[label].append((sample_hash(seed, sample_ids[indices[0]]), group, indices))
    return {label: [indices for _, _, indices in sorted(by_class[label])] for label in sorted(by_class)}


def _with_midpoints(groups: Sequence[list[int]]) -> list[tuple[float, list[int]]]:
    """Return each group with the rank of its midpoint, which decides on which side of a cutoff it falls."""
    before, ranked = 0, []
    for group in groups:
        ranked.append((before + len(group) / 2, group))
        before += len(group)
    return ranked


def split_cutoffs(
    class_sizes: Mapping[str, int], sizes: Mapping[str, float | int], seed: int
) -> dict[str, dict[str, int]]:
    """Return for each split and class the rank at which the split ends."""
    # Cumulative sums are rounded, not single fractions: such a cutoff moves by at most one when a class grows by one.
    fraction, count = 0.0, 0
    cutoffs = {}
    for split, size in sizes.items():
        fraction, count = (fraction + size, count) if size < 1 else (fraction, count + int(size))
        total = sum(class_sizes.values())
        if count and count + fraction * total > total - len(class_sizes):
            raise DataError(
                f"`validation` and `test` must leave an image of each class for training. Received: {dict(sizes)} of "
                f"{total} images of {len(class_sizes)} classes. Give a smaller number, or a fraction in (0, 1)."
            )
        quotas = _allocate(class_sizes, count)
        cutoffs[split] = {
            label: min(total - 1, _rounded(fraction * total, seed, label) + quotas[label])
            for label, total in class_sizes.items()
        }
    return cutoffs


def _rounded(exact: float, seed: int, label: str) -> int:
    # Of many classes with a quota of a third of an example, a third receive one.
    return int(_uniform(seed, label) < exact) if exact < 0.5 else math.floor(exact + 0.5)


def _uniform(seed: int, label: str) -> float:
    return int.from_bytes(sample_hash(seed, f"class\0{label}")[:6], "big") / 2**48


def _allocate(class_sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Allocate `count` examples to classes in proportion to their sizes, leaving at least one in each.

    Webster's method: unlike with largest remainders, a growing class never moves an example from a second class to a
    third. Reference: Balinski and Young, "Fair Representation", 1982, chapter 4.
    """
    quotas = dict.fromkeys(class_sizes, 0)
    heap = [(-float(size), label) for label, size in class_sizes.items() if size > 1]
    heapq.heapify(heap)
    for _ in range(count):
        _, label = heapq.heappop(heap)
        quotas[label] += 1
        if quotas[label] < class_sizes[label] - 1:
            heapq.heappush(heap, (-class_sizes[label] / (2 * quotas[label] + 1), label))
    return quotas
