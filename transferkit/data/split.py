"""Dividing examples into training, validation and test: disjoint, stratified, the same on every machine."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

__all__ = ["divide", "k_fold", "rank"]


def rank(seed: int, name: str) -> bytes:
    """Return the place of a file in the drawing of lots: a hash of the seed and the name, and of nothing else.

    So the drawing is the same on every machine, in every order, and stays put when files are added.
    """
    return hashlib.blake2b(f"{seed}\0{name}".encode("utf-8", "surrogateescape"), digest_size=16).digest()


def divide(
    names: Sequence[str],
    labels: Sequence[Hashable],
    amounts: Mapping[str, float | int],
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
) -> dict[str, list[int]]:
    """Divide the examples into splits, stratified: the same share of every class in each.

    Within a class the examples are sorted by the hash of seed and name and cut at exact counts, so that one more
    file moves at most one other over each border. Members of one group (copies of one picture, pictures of one
    patient) are never parted.

    Args:
        names: one name an example, relative to the data, with "/" between folders.
        labels: one class an example.
        amounts: split name to a share below 1, or to a number of examples of at least 1.
        seed: of the drawing.
        groups: one group an example, or None when each is its own.

    Returns:
        Split name to its indices, sorted; what is in no split of `amounts` is under "rest".

    >>> divide(["a", "b", "c", "d"], [0, 0, 1, 1], {"test": 0.5}, seed=0)
    {'test': [0, 2], 'rest': [1, 3]}
    """
    units = _units(names, labels, seed, groups)
    sizes = {label: sum(len(unit) for unit in members) for label, members in units.items()}
    wanted = {split: _counts(sizes, amount) for split, amount in amounts.items()}
    divided: dict[str, list[int]] = {split: [] for split in [*amounts, "rest"]}
    for label, members in units.items():
        left = {split: counts[label] for split, counts in wanted.items()}
        for unit in members:
            # A group that is larger than what a split still lacks goes on to the next, so that counts are not exceeded.
            split = next((split for split, count in left.items() if len(unit) <= count), "rest")
            divided[split].extend(unit)
            if split in left:
                left[split] -= len(unit)
    return {split: sorted(indices) for split, indices in divided.items()}


def k_fold(
    names: Sequence[str],
    labels: Sequence[Hashable],
    folds: int,
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
) -> list[list[int]]:
    """Deal the examples into `folds` disjoint parts, stratified, groups kept together; return their indices."""
    parts: list[list[int]] = [[] for _ in range(folds)]
    for members in _units(names, labels, seed, groups).values():
        counts = [0] * folds
        for unit in members:
            # The fold that has least of this class; among equals the one that has least of all.
            best = min(range(folds), key=lambda fold: (counts[fold], len(parts[fold]), fold))
            parts[best].extend(unit)
            counts[best] += len(unit)
    return [sorted(part) for part in parts]


def _units(
    names: Sequence[str], labels: Sequence[Hashable], seed: int, groups: Sequence[Hashable] | None
) -> dict[Hashable, list[list[int]]]:
    """Return for each class, in a fixed order, its groups in the order of the lots; a group counts to its first class."""
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index in sorted(range(len(names)), key=lambda index: names[index]):
        members[("own", index) if groups is None else groups[index]].append(index)
    by_class: dict[Hashable, list[list[int]]] = defaultdict(list)
    for unit in members.values():
        by_class[labels[unit[0]]].append(unit)
    return {
        label: sorted(by_class[label], key=lambda unit: rank(seed, names[unit[0]]))
        for label in sorted(by_class, key=repr)
    }


def _counts(sizes: dict[Hashable, int], amount: float | int) -> dict[Hashable, int]:
    total = sum(sizes.values())
    if isinstance(amount, float) and amount < 1:
        return {label: round(size * amount) for label, size in sizes.items()}
    # Whole parts first, then one more to the classes with the largest remainder, so that the sum is exact.
    exact = {label: size * min(amount, total) / total for label, size in sizes.items()}
    counts = {label: int(value) for label, value in exact.items()}
    by_remainder = sorted(exact, key=lambda label: (counts[label] - exact[label], repr(label)))
    for label in by_remainder[: min(int(amount), total) - sum(counts.values())]:
        counts[label] += 1
    return counts
