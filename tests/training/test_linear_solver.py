"""The linear solver: the optimum of a linear head instead of steps."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import multi_label_data, small_classifier
from transferkit.data import Data
from transferkit.features.linear_probe import cross_validated_l2, fit_linear_probe, log_loss, probe_logits
from transferkit.training.feature_data import CachedFeatures
from transferkit.training.linear_solver import ConcatenatedRows, solve_linear_head
from transferkit.training.objective import objective_for


def test_solver_loss_is_below_that_of_steps(data: Data) -> None:
    stepped, solved = tk.Trainer(small_classifier(), learning_rate=1e-3), tk.Trainer(small_classifier())
    stepped.fit(data, epochs=3, verbose=0)
    history = solved.fit(data, solver="lbfgs").history
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert history["loss"][0] < stepped.history.history["loss"][-1]
    report = solved.evaluate(data.validation)
    assert report.loss == pytest.approx(history["val_loss"][0], abs=1e-4)
    assert report.accuracy == pytest.approx(history["val_accuracy"][0])


def test_solver_phase_has_no_learning_rate(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2, precision="bfloat16")
    trainer.fit(data, solver="lbfgs")
    (phase,) = trainer.history
    assert (phase.learning_rate, phase.precision, phase.trained_on, phase.epochs) == (0.0, "float32", "features", 1)


def test_solver_uses_rows_of_all_views() -> None:
    generator = np.random.default_rng(0)
    views = [(generator.normal(size=(40, 5)).astype("float32"),) for _ in range(3)]
    labels = generator.integers(0, 2, 40).astype("int32")
    trained = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    features = CachedFeatures(views, (labels,), None)
    history = solve_linear_head(trained, features, objective_for(small_classifier()), 2)
    together, all_labels = np.concatenate([view[0] for view in views]), np.tile(labels, 3)
    expected = fit_linear_probe(together, all_labels, 2, l2=cross_validated_l2(views[0][0], labels, 2) or 0)
    np.testing.assert_allclose(trained.get_weights()[0], expected.kernel, rtol=1e-4)
    assert history["loss"][0] == pytest.approx(log_loss(probe_logits(expected, together), all_labels, 2), rel=1e-5)


def test_solver_with_several_labels_per_image() -> None:
    data = multi_label_data()
    trainer = tk.Trainer(small_classifier(num_classes=2, multi_label=True))
    history = trainer.fit(data, solver="lbfgs").history
    loss, accuracy = trainer.model.evaluate(data.validation, verbose=0)
    assert history["val_loss"][0] == pytest.approx(loss, abs=1e-4)
    assert history["val_accuracy"][0] == pytest.approx(accuracy)


def test_solver_with_hidden_layer_raises(data: Data) -> None:
    message = "`solver='lbfgs'` requires a linear head on a frozen backbone. Received: Dense, Dense"
    with pytest.raises(ValueError, match=message):
        tk.Trainer(small_classifier(hidden=(8,))).fit(data, solver="lbfgs")


@pytest.mark.parametrize(
    ("trainer", "fit"),
    [
        ({"loss": "focal"}, {}),
        ({"label_smoothing": 0.1}, {}),
        ({"ema": True}, {}),
        ({"class_weight": "balanced"}, {}),
        ({}, {"early_stopping": 2}),
        ({}, {"keep_best": True}),
        ({}, {"learning_rate": 0.1}),
    ],
)
def test_solver_with_option_it_ignores_raises(data: Data, trainer: dict[str, Any], fit: dict[str, Any]) -> None:
    (name,) = {**trainer, **fit}
    with pytest.raises(ValueError, match=f"`{name}` is not supported with solver='lbfgs'"):
        tk.Trainer(small_classifier(), **trainer).fit(data, solver="lbfgs", **fit)


def test_solver_error_does_not_fix_classes(data: Data) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
    other = tk.DatasetBuilder((images, np.arange(20) % 2), image_size=32, validation=0.2).build()
    trainer = tk.Trainer(small_classifier(hidden=(8,)))
    with pytest.raises(ValueError, match="requires a linear head"):
        trainer.fit(other, solver="lbfgs")
    trainer.fit(data, epochs=1, verbose=0)
    assert trainer.predictor().class_names == ("cats", "dogs")


def test_solver_without_cached_features_raises(data: Data) -> None:
    message = "`solver='lbfgs'` requires cached features. Received: cache=False. Use solver='adam'"
    with pytest.raises(ValueError, match=message):
        tk.Trainer(small_classifier(), cache=False).fit(data, solver="lbfgs")


def test_concatenated_rows_of_slices() -> None:
    parts = [np.arange(start, stop)[:, None] for start, stop in ((0, 4), (4, 5), (5, 12))]
    rows, expected = ConcatenatedRows(parts), np.arange(12)[:, None]
    assert rows.shape == (12, 1)
    for start in range(12):
        for stop in range(start, 14):
            np.testing.assert_array_equal(rows[start:stop], expected[start:stop])
