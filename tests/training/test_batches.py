"""Batches of features: every row once an epoch, in the view whose turn it is, wherever the features lie."""

from __future__ import annotations

import numpy as np
import pytest

from transferkit.data.pipeline import epoch_order
from transferkit.training import feature_batches as batches

ROWS = 300


@pytest.fixture(params=["memory", "disk"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "disk":
        monkeypatch.setattr(batches, "_IN_MEMORY_BYTES", 0)
    return request.param


def view(number: int, dtype: str = "float32") -> tuple[np.ndarray, ...]:
    """Return two tensors that tell the view and the row."""
    rows = np.arange(ROWS, dtype=dtype)
    return np.stack([rows, np.full(ROWS, number, dtype)], axis=1), np.tile(rows[:, None, None], (1, 2, 1))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_each_epoch_takes_every_row_in_the_view_whose_turn_it_is(place: str, dtype: str) -> None:
    labels = np.arange(ROWS, dtype=np.int32) * 10
    dataset = batches.training_batches(
        [view(number, dtype) for number in range(3)], labels, batch_size=32, seed=5, first_epoch=4, epochs=2
    )
    seen = [(features[0].numpy(), features[1].numpy(), target.numpy()) for features, target in dataset]
    assert [len(target) for *_, target in seen] == 2 * ([32] * 9 + [12])
    for epoch, part in ((4, seen[:10]), (5, seen[10:])):
        first, second, target = (np.concatenate(arrays) for arrays in zip(*part))
        order = epoch_order(ROWS, 5, epoch)
        assert first.dtype == second.dtype == np.float32
        np.testing.assert_array_equal(first[:, 0], order)
        np.testing.assert_array_equal(first[:, 1], (order + epoch) % 3)
        np.testing.assert_array_equal(second[:, 1, 0], order)
        np.testing.assert_array_equal(target, order * 10)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_validation_takes_the_rows_as_they_come(place: str, dtype: str) -> None:
    labels = np.eye(ROWS, 4, dtype=np.float32)
    seen = list(batches.evaluation_batches(view(7, dtype), labels))
    first, second = (np.concatenate([features[number].numpy() for features, _ in seen]) for number in range(2))
    assert first.dtype == second.dtype == np.float32
    np.testing.assert_array_equal(first, view(7)[0])
    np.testing.assert_array_equal(second, view(7)[1])
    np.testing.assert_array_equal(np.concatenate([target.numpy() for _, target in seen]), labels)


def test_one_tensor_is_given_as_it_is(place: str) -> None:
    features = view(0)[:1]
    for dataset in (
        batches.evaluation_batches(features, np.zeros(ROWS)),
        batches.training_batches([features], np.zeros(ROWS), batch_size=8, seed=0, first_epoch=0, epochs=1),
    ):
        assert tuple(dataset.element_spec[0].shape) == (None, 2)
