"""Batches of features: each row once per epoch, in the view of its turn, from memory or from disk."""

from __future__ import annotations

import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data import Data
from transferkit.data.pipeline import epoch_order
from transferkit.features.extraction import ExtractionOptions
from transferkit.training import feature_data
from transferkit.training.feature_data import evaluation_batches, load_features, training_batches, training_job

ROWS = 300


@pytest.fixture(params=["memory", "disk"])
def storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "disk":
        monkeypatch.setattr(feature_data, "_IN_MEMORY_BYTES", 0)
    return request.param


def view(number: int, dtype: str = "float32") -> tuple[np.ndarray, ...]:
    """Return two tensors that contain the numbers of the view and the row."""
    rows = np.arange(ROWS, dtype=dtype)
    return np.stack([rows, np.full(ROWS, number, dtype)], axis=1), np.tile(rows[:, None, None], (1, 2, 1))


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_training_batches_have_each_row_in_its_view(dtype: str) -> None:
    labels = np.arange(ROWS, dtype=np.int32) * 10
    views = [view(number, dtype) for number in range(3)]
    dataset = training_batches(views, (labels,), batch_size=32, seed=5, epochs=range(4, 6))
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


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_evaluation_batches_are_in_order_of_rows(dtype: str) -> None:
    labels = np.eye(ROWS, 4, dtype=np.float32)
    seen = list(evaluation_batches(view(7, dtype), (labels,)))
    first, second = (np.concatenate([features[number].numpy() for features, _ in seen]) for number in range(2))
    assert first.dtype == second.dtype == np.float32
    np.testing.assert_array_equal(first, view(7)[0])
    np.testing.assert_array_equal(second, view(7)[1])
    np.testing.assert_array_equal(np.concatenate([target.numpy() for _, target in seen]), labels)


@pytest.mark.usefixtures("storage")
def test_batches_of_one_tensor_are_not_nested() -> None:
    features = view(0)[:1]
    for dataset in (
        evaluation_batches(features, (np.zeros(ROWS),)),
        training_batches([features], (np.zeros(ROWS),), batch_size=8, seed=0, epochs=range(1)),
    ):
        assert tuple(dataset.element_spec[0].shape) == (None, 2)


def test_load_features_of_both_splits(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(tk.AugmentationBlock(rotation=0.1)))
    plan, options = trainer.plan(data, num_views=2), ExtractionOptions(progress=False)
    training, validation = data.splits["train"], data.splits["validation"]
    assert training_job(plan, data, options).num_rows == 2 * len(training) + len(validation)
    features = load_features(plan, data, options)
    assert [[array.shape for array in one] for one in features.views] == [[(len(training), 16)]] * 2
    np.testing.assert_array_equal(features.labels, training.labels)
    assert features.validation is not None
    ((array,), (labels,)) = features.validation
    assert array.shape == (len(validation), 16)
    np.testing.assert_array_equal(labels, validation.labels)
    assert training_job(plan, data, options).num_missing == 0
