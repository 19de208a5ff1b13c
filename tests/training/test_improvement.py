"""Fine-tuning is kept where it lowers the validation loss by more than its standard error."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data import Data
from transferkit.training.improvement import calibrated_losses, is_improvement
from transferkit.training.objective import Objective


def test_is_improvement_by_hand() -> None:
    before = np.array([1.0, 2.0, 3.0, 4.0])
    # Differences of 0.4, 0.2, 0.4, 0.2: mean 0.3, standard deviation 0.115, standard error 0.058.
    assert is_improvement(before, before - np.array([0.4, 0.2, 0.4, 0.2]))
    # Mean 0.1, standard deviation 0.258, standard error 0.129.
    assert not is_improvement(before, before - np.array([0.4, -0.2, 0.2, 0.0]))
    assert not is_improvement(before, before) and not is_improvement(before, before * np.nan)
    assert is_improvement(before[:1], before[:1] - 0.1)


def test_calibrated_losses_ignore_confidence() -> None:
    objective = Objective("binary", 1)
    labels, logits = np.array([0, 1, 1, 0]), np.array([[-1.0], [2.0], [-0.5], [-2.0]], "float32")
    losses = calibrated_losses(objective, labels, logits)
    # Five steps of the grid of scales.
    larger = calibrated_losses(objective, labels, logits * np.float32(10**0.25))
    np.testing.assert_allclose(larger, losses, atol=1e-5)
    assert losses.mean() <= objective.loss_of(labels, logits)
    # All of the images are right: only the confidence grows, which is no improvement.
    right = np.array([[-1.0], [1.0], [0.9], [-1.2]], "float32")
    before, after = (calibrated_losses(objective, labels, right * scale) for scale in (1, 5))
    assert objective.loss_of(labels, right * 5) < objective.loss_of(labels, right) - 0.2
    assert not is_improvement(before, after)


@pytest.mark.parametrize(
    ("objective", "labels"),
    [
        (Objective("binary", 1), np.array([0, 1, 1])),
        (Objective("multi_class", 3), np.array([0, 2, 1])),
        (Objective("multi_class", 3, label_smoothing=0.1), np.array([0, 2, 1])),
        (Objective("multi_label", 2, "focal"), np.array([[0, 1], [1, 1], [0, 0]], "float32")),
    ],
)
def test_losses_of_images_have_mean_of_loss(objective: Objective, labels: np.ndarray) -> None:
    logits = np.random.default_rng(0).normal(size=(3, objective.units)).astype("float32")
    losses = objective.losses_of(labels, logits)
    assert losses.shape == (3,) and losses.mean() == pytest.approx(objective.loss_of(labels, logits), abs=1e-6)
    assert losses[1] == pytest.approx(objective.loss_of(labels[1:2], logits[1:2]), abs=1e-6)


@pytest.mark.parametrize("cache", [True, False])
def test_fine_tune_without_improvement_restores_weights(
    data: Data, caplog: pytest.LogCaptureFixture, cache: bool
) -> None:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2, cache=cache)
    trainer.fit(data, epochs=3, verbose=0)
    before = trainer.model.get_weights()
    # Steps that are too small to change anything.
    with caplog.at_level(logging.WARNING, "transferkit"):
        trainer.fine_tune(data, epochs=1, fraction=0.5, learning_rate=1e-12, verbose=0)
    assert "Fine-tuning was of no use: the calibrated validation loss was" in caplog.text
    for actual, expected in zip(trainer.model.get_weights(), before):
        np.testing.assert_array_equal(actual, expected)


def test_fine_tune_with_improvement_keeps_it() -> None:
    labels = np.arange(60) % 2
    noise = np.random.default_rng(0).integers(0, 100, (60, 32, 32, 3))
    images = (noise + 120 * labels[:, None, None, None]).astype("uint8")
    data = tk.DatasetBuilder((images, labels), image_size=32, validation=0.3, batch_size=8).build()
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-4)
    trainer.fit(data, epochs=1, verbose=0)
    before = trainer.model.get_weights()
    losses = trainer.fine_tune(data, epochs=10, learning_rate=3e-3, verbose=0).history["val_loss"]
    assert any(not np.array_equal(actual, weight) for actual, weight in zip(trainer.model.get_weights(), before))
    assert trainer.model.evaluate(data.validation, verbose=0)[0] == pytest.approx(min(losses), abs=1e-5)
