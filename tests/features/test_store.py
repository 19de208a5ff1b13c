"""The feature store: rows found by content, in the requested order and storage type."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from transferkit.features.store import FeatureStore, to_storage_dtype


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def row(number: int) -> np.ndarray:
    return np.full(3, number, np.float32)


def filled(name: str, *shards: list[int]) -> FeatureStore:
    store = FeatureStore(name)
    for numbers in shards:
        store.add([key(n) for n in numbers], [np.stack([row(n) for n in numbers]), np.array(numbers)])
    return FeatureStore(name)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True), min_size=1, max_size=4), st.data())
def test_store_rows_are_those_of_the_keys(shards: list[list[int]], data: st.DataObject) -> None:
    store = filled(os.urandom(4).hex(), *shards)
    stored = sorted({number for shard in shards for number in shard})
    requested = data.draw(st.lists(st.sampled_from(stored), min_size=1, max_size=20))
    first, second = store.rows([key(number) for number in requested])
    np.testing.assert_array_equal(np.asarray(first), [row(number) for number in requested])
    np.testing.assert_array_equal(second[np.arange(len(requested))], requested)
    assert first.shape == (len(requested), 3) and first[0].tolist() == row(requested[0]).tolist()
    assert [number for number in range(35) if key(number) in store] == stored


@pytest.mark.parametrize("part", ["*.0.npy", "*.keys"])
def test_store_damaged_shard_is_removed_with_warning(part: str, caplog: pytest.LogCaptureFixture) -> None:
    store = filled("broken", [1, 2], [3])
    victim = sorted(store.folder.glob(part))[0]
    victim.write_bytes(victim.read_bytes()[:-3])
    again = FeatureStore("broken")
    (record,) = caplog.records
    assert record.name == "transferkit" and "are damaged" in record.getMessage()
    assert sum(key(number) not in again for number in (1, 2, 3)) in (1, 2)
    assert not victim.exists()


def test_store_reload_finds_shards_of_others() -> None:
    store, other = FeatureStore("shared"), FeatureStore("shared")
    other.add([key(1)], [row(1)[None]])
    assert key(1) in other and key(1) not in store
    store.reload()
    np.testing.assert_array_equal(np.asarray(store.rows([key(1)])[0]), row(1)[None])
    # A row that was stored twice is found once.
    store.add([key(1), key(2)], [np.stack([row(1), row(2)])])
    np.testing.assert_array_equal(np.asarray(store.rows([key(2), key(1)])[0]), np.stack([row(2), row(1)]))


def test_feature_array_indexing() -> None:
    (rows, _) = filled("index", [1, 2], [3]).rows([key(number) for number in (3, 1, 2, 3)])
    expected = np.stack([row(number) for number in (3, 1, 2, 3)])
    for index in (0, -1, slice(1, 3), slice(None, None, 2), np.array([3, 0, 0]), [1], expected[:, 0] > 1, slice(0, 0)):
        np.testing.assert_array_equal(rows[index], expected[index])
    assert len(rows) == 4 and rows.nbytes == expected.nbytes and rows.dtype == np.float32
    assert np.asarray(rows, np.float64).dtype == np.float64


@given(arrays(np.float32, 20, elements=st.floats(-65504, 65504, width=32)))
def test_to_storage_dtype_rounds_within_a_thousandth(features: np.ndarray) -> None:
    stored = to_storage_dtype(features, "float16")
    assert stored.dtype == np.float16
    np.testing.assert_allclose(stored.astype(np.float32), features, rtol=1e-3, atol=1e-7)
    assert to_storage_dtype(features, "float32") is features


def test_to_storage_dtype_clips_with_warning(caplog: pytest.LogCaptureFixture) -> None:
    stored = to_storage_dtype(np.array([1e6, -np.inf, np.nan, 2.0], np.float32), "float16")
    np.testing.assert_array_equal(stored, np.array([65504, -65504, np.nan, 2], np.float16))
    (record,) = caplog.records
    assert record.name == "transferkit" and "2 features of 4 exceed float16" in record.getMessage()
    integers = np.array([100_000])
    assert to_storage_dtype(integers, "float16") is integers
