"""Near-duplicates by perceptual hash."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transferkit.data.analysis import near_duplicate_groups
from transferkit.data.file_info import FileInfo


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=12), st.integers(0, 63), st.integers(0, 63))
def test_near_duplicate_groups_are_within_three_bits(looks, one, other):
    looks = [*looks, looks[0] ^ (1 << one) ^ (1 << other)]
    known = [FileInfo(str(number).encode(), None, "jpeg", 9, 9, look) for number, look in enumerate(looks)]
    groups = near_duplicate_groups([str(number) for number in range(len(looks))], known)
    assert any({"0", str(len(looks) - 1)} <= set(group) for group in groups)
    grouped = {path for group in groups for path in group}
    for number, look in enumerate(looks):
        near = any(index != number and (look ^ value).bit_count() <= 3 for index, value in enumerate(looks))
        assert (str(number) in grouped) == near
