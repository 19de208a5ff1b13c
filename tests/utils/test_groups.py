"""Disjoint sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transferkit._utils.groups import UnionFind


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=30))
def test_union_find_agrees_with_merged_sets(pairs: list[tuple[int, int]]) -> None:
    sets, expected = UnionFind[int](), {item: {item} for item in range(13)}
    for one, other in pairs:
        sets.union(one, other)
        merged = expected[one] | expected[other]
        expected.update(dict.fromkeys(merged, merged))
    for one in range(13):
        assert {other for other in range(13) if sets.find(one) == sets.find(other)} == expected[one]


def test_union_find_representative_is_that_of_first() -> None:
    sets = UnionFind[str]()
    sets.union("a", "b")
    sets.union("c", "a")
    assert [sets.find(item) for item in "abcd"] == ["c", "c", "c", "d"]


def test_union_find_long_chain() -> None:
    sets = UnionFind[int]()
    for item in range(10_000):
        sets.union(item + 1, item)
    assert sets.find(0) == 10_000
