"""Dividing examples into training, validation and test: disjoint, stratified, the same on every machine.

Every example draws a lot, the hash of the seed and its name. Within a class the lots are sorted and cut at counts
that follow from the size of the class alone. So the splits depend neither on the machine nor on the order in which
files are listed, and one more file moves at most one other over each border.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

from transferkit.errors import DataError

Label = str | tuple[str, ...]


def sample_hash(seed: int, name: str) -> bytes:
    """Return an example's lot: a hash of the seed and the name, and of nothing else.

    >>> lot(0, "cats/1.jpg") == lot(0, "cats/1.jpg"), lot(0, "cats/1.jpg") == lot(1, "cats/1.jpg")
    (True, False)
    """
    # Some file systems store the parts of an accented letter, others the letter.
    name = unicodedata.normalize("NFC", name)
    return hashlib.blake2b(f"{seed}\0{name}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def stratified_split(
    names: Sequence[str],
    labels: Sequence[Label],
    amounts: Mapping[str, float | int],
    *,
    seed: int,
    groups: Sequence[str | None] | None = None,
) -> dict[str, list[int]]:
    """Divide the examples into splits, with the same share of every class in each.

    Args:
        names: one name an example, relative to the data, with "/" between folders.
        labels: one class an example, or several labels.
        amounts: split name to a share in (0, 1), or to a number of examples of at least 1.
        seed: of the lots.
        groups: what must not be parted has the same group; None for an example of its own.

    Returns:
        Split name to its indices, sorted; what is in no split of `amounts` is under "rest", where every class keeps
        one example at least.

    Raises:
        DataError: when there are fewer examples than are asked for.

    >>> divide(["a", "b", "c", "d"], ["x", "x", "y", "y"], {"test": 0.5}, seed=0)
    {'test': [0, 3], 'rest': [1, 2]}
    """
    by_class = _groups_by_class(names, labels, seed, groups)
    sizes = {label: sum(map(len, units)) for label, units in by_class.items()}
    borders = _cutoffs(sizes, amounts, seed)
    divided: dict[str, list[int]] = {split: [] for split in [*amounts, "rest"]}
    for label, units in by_class.items():
        cuts = [(split, borders[split][label]) for split in amounts]
        for middle, unit in _with_midpoints(units):
            split = next((split for split, border in cuts if middle <= border), "rest")
            divided[split].extend(unit)
    return {split: sorted(indices) for split, indices in divided.items()}


def k_fold(
    names: Sequence[str],
    labels: Sequence[Label],
    folds: int,
    *,
    seed: int,
    groups: Sequence[str | None] | None = None,
) -> list[list[int]]:
    """Deal the examples into `folds` disjoint parts, stratified, groups kept together; return their indices.

    >>> k_fold(["a", "b", "c", "d"], ["x", "x", "y", "y"], 2, seed=0)
    [[0, 3], [1, 2]]
    """
    parts: list[list[int]] = [[] for _ in range(folds)]
    for label, units in _groups_by_class(names, labels, seed, groups).items():
        size, shift = sum(map(len, units)), _uniform(seed, label)
        # Each class rounds from a lot of its own, so that the odd ones of many classes do not meet in one fold.
        cuts = [math.floor(fold * size / folds + shift) for fold in range(1, folds)] + [size]
        for middle, unit in _with_midpoints(units):
            parts[next(fold for fold, cut in enumerate(cuts) if middle <= cut)].extend(unit)
    return [sorted(part) for part in parts]


def merge_groups(groups: Sequence[str | None] | None, digests: Sequence[bytes]) -> list[str]:
    """Return groups that hold together both the user's groups and exact copies.

    >>> merge_groups(["p1", "p1", None, "p2"], [b"a", b"b", b"b", b"c"])
    ['p1', 'p1', 'p1', 'p2']
    """
    leader: dict[Hashable, Hashable] = {}

    def find(item: Hashable) -> Hashable:
        while leader.setdefault(item, item) != item:
            item = leader[item]
        return item

    users: dict[Hashable, str] = {}
    for digest, group in zip(digests, groups or [None] * len(digests)):
        if group is not None:
            leader[find(("copies", digest))] = find(("group", group))
    for group in filter(None, groups or ()):
        root = find(("group", group))
        users[root] = min(group, users.get(root, group))
    return [users.get(find(("copies", digest)), digest.hex()) for digest in digests]


def stratum_labels(labels: Sequence[Label]) -> list[str]:
    """Return what each example is stratified by: its class, or the rarest of its labels."""
    counts = Counter(name for label in labels if isinstance(label, tuple) for name in label)
    return [
        min(label, key=lambda name: (counts[name], name), default="") if isinstance(label, tuple) else label
        for label in labels
    ]


def _groups_by_class(
    names: Sequence[str], labels: Sequence[Label], seed: int, groups: Sequence[str | None] | None
) -> dict[str, list[list[int]]]:
    """Return for each class its groups in the order of their lots; a group counts to the class it has most of."""
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index in sorted(range(len(names)), key=lambda index: names[index]):
        group = None if groups is None else groups[index]
        members[index if group is None else group].append(index)
    classes = stratum_labels(labels)
    by_class: dict[str, list[tuple[bytes, list[int]]]] = defaultdict(list)
    for unit in members.values():
        counts = Counter(classes[index] for index in unit)
        label = min(counts, key=lambda name: (-counts[name], name))
        by_class[label].append((sample_hash(seed, names[unit[0]]), unit))
    return {label: [unit for _, unit in sorted(by_class[label])] for label in sorted(by_class)}


def _with_midpoints(units: Sequence[list[int]]) -> list[tuple[float, list[int]]]:
    """Return each unit with the place of its middle: a unit lies on the side of a border where its middle lies."""
    before, placed = 0, []
    for unit in units:
        placed.append((before + len(unit) / 2, unit))
        before += len(unit)
    return placed


def _cutoffs(sizes: Mapping[str, int], amounts: Mapping[str, float | int], seed: int) -> dict[str, dict[str, int]]:
    """Return for each split and class how many examples come before its end."""
    # Sums are rounded, not single shares: a border of rounded sums moves by one at most when a class grows by one.
    share, count = 0.0, 0
    borders = {}
    for split, amount in amounts.items():
        share, count = (share + amount, count) if amount < 1 else (share, count + int(amount))
        quotas = _allocate(sizes, count)
        borders[split] = {
            label: min(size - 1, _rounded(share * size, seed, label) + quotas[label]) for label, size in sizes.items()
        }
    return borders


def _rounded(exact: float, seed: int, label: str) -> int:
    # Of many classes that are due a third of an image each, a third get one.
    return int(_uniform(seed, label) < exact) if exact < 0.5 else math.floor(exact + 0.5)


def _uniform(seed: int, label: str) -> float:
    return int.from_bytes(sample_hash(seed, f"class\0{label}")[:6], "big") / 2**48


def _allocate(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Deal `count` seats to classes in proportion to their sizes, one always left over.

    Webster's method: unlike that of largest remainders, a class that grows never takes a seat from one other class to
    give it to a third. Reference: Balinski and Young, "Fair Representation", 1982, chapter 4.
    """
    quotas = dict.fromkeys(sizes, 0)
    if count > sum(sizes.values()) - len(sizes):
        raise DataError(
            f"`validation` and `test` must leave an image of each class for training. Received: {count} images to be "
            f"taken from {sum(sizes.values())} of {len(sizes)} classes. Give a smaller number, or a share in (0, 1)."
        )
    heap = [(-float(size), label) for label, size in sizes.items() if size > 1]
    heapq.heapify(heap)
    for _ in range(count):
        _, label = heapq.heappop(heap)
        quotas[label] += 1
        if quotas[label] < sizes[label] - 1:
            heapq.heappush(heap, (-sizes[label] / (2 * quotas[label] + 1), label))
    return quotas
