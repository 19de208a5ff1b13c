"""Divides millions of examples into splits, by arrays; the splits are those of `stratified_split`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from transferkit.data.splitting import sample_hash, split_cutoffs


def sample_ranks(sample_ids: Iterable[str], seed: int) -> np.ndarray:
    """Return uint64 (n, 2), by whose order the examples are ranked."""
    hashes = b"".join(sample_hash(seed, sample_id) for sample_id in sample_ids)
    return np.frombuffer(hashes, ">u8").reshape(-1, 2).astype(np.uint64)


def split_rows(
    ranks: np.ndarray,
    strata: tuple[np.ndarray, Sequence[str]],
    digests: np.ndarray,
    sizes: Mapping[str, float | int],
    *,
    seed: int,
) -> dict[str, np.ndarray]:
    """Divide examples into splits with the same fraction of every stratum in each; duplicates stay together.

    Args:
        ranks: of `sample_ranks`, in the order of the sample ids.
        strata: int (n,), the stratum of each example, and the names of the strata.
        digests: uint64 (n,), equal for duplicates.
        sizes: split to a fraction in (0, 1) or a number of examples.
        seed: as for `stratified_split`.

    Returns:
        Split to sorted rows; the rest is under "remainder".
    """
    labels, names = strata
    _, first, groups, counts = np.unique(digests, return_index=True, return_inverse=True, return_counts=True)
    of_group = _group_labels(labels, names, groups, first, counts)
    order = np.lexsort((ranks[first, 1], ranks[first, 0]))
    members = {name: order[of_group[order] == label] for label, name in enumerate(names)}
    totals = {name: int(counts[chosen].sum()) for name, chosen in sorted(members.items()) if len(chosen)}
    cutoffs = split_cutoffs(totals, sizes, seed)
    positions = np.full(len(first), len(sizes))
    for name in totals:
        chosen = members[name]
        midpoints = np.cumsum(counts[chosen]) - counts[chosen] / 2
        positions[chosen] = np.searchsorted([cutoffs[split][name] for split in sizes], midpoints)
    return {split: np.flatnonzero(positions[groups] == number) for number, split in enumerate([*sizes, "remainder"])}


def _group_labels(
    labels: np.ndarray, names: Sequence[str], groups: np.ndarray, first: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Return the most frequent label of each group of duplicates."""
    found = labels[first]
    several = np.flatnonzero(counts[groups] > 1)
    members: dict[int, list[int]] = {}
    for row in several.tolist():
        members.setdefault(int(groups[row]), []).append(int(labels[row]))
    for group, values in members.items():
        frequencies = Counter(values)
        found[group] = min(frequencies, key=lambda label: (-frequencies[label], names[label]))
    return found
