"""Splits: disjoint, stratified, exact, and stable when a file is added."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferkit.data.splitting import k_fold, merge_groups, sample_hash, stratified_split
from transferkit.errors import DataError

SIZES = st.dictionaries(st.sampled_from("abcd"), st.integers(2, 40), min_size=1)


def sizes_of(number):
    return st.builds(lambda test, validation: {"test": test, "validation": validation}, number, number)


SHARES, COUNTS = sizes_of(st.floats(0.05, 0.45)), sizes_of(st.integers(1, 3))


def examples(sizes):
    names = [f"{label}/{number}.jpg" for label, size in sorted(sizes.items()) for number in range(size)]
    return names, [name[0] for name in names]


def sides(names, labels, amounts, seed=0, groups=None):
    parts = stratified_split(names, labels, amounts, seed=seed, groups=groups)
    return {names[index]: split for split, indices in parts.items() for index in indices}


@given(SIZES, SHARES, st.integers(0, 5))
def test_stratified_split_is_disjoint_with_fractions_per_class(sizes, amounts, seed):
    names, labels = examples(sizes)
    parts = stratified_split(names, labels, amounts, seed=seed)
    assert sorted(itertools.chain(*parts.values())) == list(range(len(names)))
    for label, size in sizes.items():
        counts = {split: sum(labels[index] == label for index in indices) for split, indices in parts.items()}
        assert counts["remainder"] >= 1
        assert abs(counts["test"] - amounts["test"] * size) <= 1
        assert abs(counts["test"] + counts["validation"] - min(size - 1, sum(amounts.values()) * size)) <= 1


def test_stratified_split_of_fractions_is_exact():
    names, labels = examples({"a": 100, "b": 50})
    parts = stratified_split(names, labels, {"test": 0.2, "validation": 0.1}, seed=3)
    assert [sum(labels[i] == label for i in parts[split]) for split in ("test", "validation") for label in "ab"] == [
        20, 10, 10, 5,
    ]  # fmt: skip


@given(SIZES, COUNTS, st.integers(0, 5))
def test_stratified_split_of_counts_is_exact(sizes, amounts, seed):
    names, labels = examples(sizes)
    if sum(amounts.values()) > len(names) - len(sizes):
        with pytest.raises(DataError, match="leave an image of each class"):
            stratified_split(names, labels, amounts, seed=seed)
        return
    parts = stratified_split(names, labels, amounts, seed=seed)
    assert {split: len(parts[split]) for split in amounts} == amounts


@settings(max_examples=200)
@given(SIZES, SHARES, st.sampled_from("abcd"), st.integers(0, 999))
def test_stratified_split_added_file_moves_one_per_boundary(sizes, amounts, label, number):
    names, labels = examples(sizes)
    before = sides(names, labels, amounts)
    after = sides([*names, f"{label}/new{number}.jpg"], [*labels, label], amounts)
    reassigned = [name for name in names if before[name] != after[name]]
    rank = {"test": 0, "validation": 1, "remainder": 2}
    for border in (0.5, 1.5):
        assert sum((rank[before[name]] < border) != (rank[after[name]] < border) for name in reassigned) <= 1
    assert all(name[0] == label for name in reassigned)


@given(SIZES, SHARES, st.randoms())
def test_stratified_split_ignores_listing_order(sizes, amounts, random):
    names, labels = examples(sizes)
    shuffled = random.sample(range(len(names)), len(names))
    again = sides([names[i] for i in shuffled], [labels[i] for i in shuffled], amounts)
    assert again == sides(names, labels, amounts)


def test_stratified_split_depends_on_seed():
    names, labels = examples({"a": 30, "b": 30})
    parts = [stratified_split(names, labels, {"test": 0.5}, seed=seed)["test"] for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]


def test_sample_hash_is_stable():
    # Worked out once; if they change, every user's splits change.
    assert sample_hash(0, "cats/1.jpg").hex() == "384b149c3c8154a8876ddfd917c8c76c"
    assert sample_hash(0, "e\N{COMBINING ACUTE ACCENT}.jpg") == sample_hash(
        0, "\N{LATIN SMALL LETTER E WITH ACUTE}.jpg"
    )


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 6)), min_size=8, max_size=40), SHARES)
def test_stratified_split_keeps_groups_together(rows, amounts):
    labels, groups = [label for label, _ in rows], [f"patient{number}" for _, number in rows]
    split_of = sides([str(index) for index in range(len(rows))], labels, amounts, groups=groups)
    for group in set(groups):
        assert len({split_of[str(index)] for index in range(len(rows)) if groups[index] == group}) == 1


def test_merge_groups_joins_groups_and_duplicates():
    concat = merge_groups(["p1", "p2", None, None, "p3"], [b"x", b"x", b"y", b"y", b"z"])
    assert concat[0] == concat[1] and concat[2] == concat[3]
    assert len({concat[0], concat[2], concat[4]}) == 3


@given(SIZES, st.integers(2, 6), st.integers(0, 3))
def test_k_fold_is_disjoint_and_even(sizes, folds, seed):
    names, labels = examples(sizes)
    try:
        parts = k_fold(names, labels, folds, seed=seed)
    except DataError:
        assert max(sizes.values()) < folds
        return
    assert sorted(itertools.chain(*parts)) == list(range(len(names)))
    for label, size in sizes.items():
        counts = [sum(labels[index] == label for index in part) for part in parts]
        assert max(counts) - min(counts) <= 1 + (size % folds > 0)
        assert math.isclose(sum(counts), size)


def test_stratified_split_of_several_labels_uses_rarest():
    names = [str(number) for number in range(40)]
    labels = [("common", "rare") if number < 10 else ("common",) for number in range(40)]
    test = stratified_split(names, labels, {"test": 0.2}, seed=0)["test"]
    assert sum("rare" in labels[index] for index in test) == 2 and len(test) == 8


def test_k_fold_of_fewer_images_than_folds_raises():
    with pytest.raises(DataError, match="Received: 3 folds for 2 images, of which 1 have none"):
        k_fold(["a", "b"], ["x", "x"], 3, seed=0)


@pytest.mark.parametrize(
    "sizes", [{"test": 0.5, "validation": 6}, {"test": 5, "validation": 0.6}, {"test": 5, "validation": 6}]
)
def test_stratified_split_of_more_than_all_raises(sizes):
    names = [str(number) for number in range(12)]
    with pytest.raises(DataError, match="must leave an image of each class .* of 12 images of 2 classes"):
        stratified_split(names, ["x", "y"] * 6, sizes, seed=0)


def test_stratified_split_of_fraction_and_number_is_exact():
    names = [str(number) for number in range(40)]
    parts = stratified_split(names, ["x", "y"] * 20, {"test": 0.5, "validation": 10}, seed=0)
    assert {split: len(part) for split, part in parts.items()} == {"test": 20, "validation": 10, "remainder": 10}
