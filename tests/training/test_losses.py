"""Losses on logits: golden values by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from transferkit.training.losses import make_loss, to_columns

LABELS = np.array([0, 2])
LOGITS = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], "float32"))


def test_default_losses_by_hand() -> None:
    expected = -(np.log(0.5) + np.log(0.8)) / 2
    for name in (None, "cross_entropy", "sparse_categorical_crossentropy", "categorical_crossentropy"):
        assert float(make_loss("multi_class", 3, name)(LABELS, LOGITS)) == pytest.approx(expected, abs=1e-6)
    assert float(make_loss("binary", 1)(np.array([1, 0]), np.zeros((2, 1)))) == pytest.approx(np.log(2), abs=1e-6)


def test_label_smoothing_by_hand() -> None:
    targets = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    expected = -(targets * LOGITS).sum(axis=1).mean()
    assert float(make_loss("multi_class", 3, label_smoothing=0.3)(LABELS, LOGITS)) == pytest.approx(expected, abs=1e-5)


def test_focal_loss_by_hand() -> None:
    # alpha * (1 - p)^2 * -log p with alpha 0.25, for the probability of the true class.
    expected = np.mean([0.25 * (1 - p) ** 2 * -np.log(p) for p in (0.5, 0.8)])
    assert float(make_loss("multi_class", 3, "focal")(LABELS, LOGITS)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", [None, "focal", keras.losses.CategoricalHinge()])
def test_soft_labels_at_their_corners_equal_hard_labels(name: object) -> None:
    hard = float(make_loss("multi_class", 3, name)(LABELS, LOGITS))
    soft = make_loss("multi_class", 3, name, soft_labels=True)
    assert float(soft(np.eye(3, dtype="float32")[LABELS], LOGITS)) == pytest.approx(hard, abs=1e-6)
    assert float(soft(LABELS, LOGITS)) == pytest.approx(hard, abs=1e-6)


def test_loss_config_round_trip() -> None:
    loss = make_loss("multi_class", 3, "focal", label_smoothing=0.1)
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(copy(LABELS, LOGITS)) == float(loss(LABELS, LOGITS))


def test_to_columns() -> None:
    assert np.asarray(to_columns(np.array([1, 0]), 2)).tolist() == [[0, 1], [1, 0]]
    assert np.asarray(to_columns(np.array([[1], [0]]), 2)).tolist() == [[0, 1], [1, 0]]
    assert np.asarray(to_columns(np.array([1, 0]), 1)).tolist() == [[1], [0]]
    soft = np.array([[0.3, 0.7]], "float32")
    np.testing.assert_array_equal(to_columns(soft, 2), soft)
