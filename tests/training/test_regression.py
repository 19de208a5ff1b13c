"""Training on numbers: exact units, cached and plain training, losses, metrics, errors for what needs classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn import metrics

import transferkit as tk
from transferkit.errors import DataError
from transferkit.head import set_unit, unit_layer
from transferkit.interchange import write_fiftyone
from transferkit.training.losses import make_loss

SIZE = 32


@pytest.fixture(scope="module")
def data() -> tk.Data:
    """Noise whose mean brightness b has the label 1000 + 3 b."""
    generator = np.random.default_rng(0)
    brightness = generator.uniform(40, 200, 240)
    noise = generator.normal(0, 20, (240, SIZE, SIZE, 3))
    images = np.clip(brightness[:, None, None, None] + noise, 0, 255).astype(np.uint8)
    source = images, 1000 + 3 * brightness
    return tk.DatasetBuilder(source, validation=0.2, test=0.2, image_size=SIZE, target="number").build()


def make_backbone() -> tk.Backbone:
    keras.utils.set_random_seed(1)
    images = keras.Input((SIZE, SIZE, 3))
    features = keras.layers.Conv2D(8, 3, strides=4, activation="relu")(images)
    return tk.BackboneFactory.create(keras.Model(images, features, name="tiny"), preprocessing="tf")


def make_trainer(head: Any = None, **options: Any) -> tk.Trainer:
    model = tk.build_classifier(make_backbone(), head or tk.RegressionHead(dropout=0))
    return tk.Trainer(model, **{"learning_rate": 0.01, **options})


def fitted(data: tk.Data, **options: Any) -> tk.Trainer:
    trainer = make_trainer(**options)
    trainer.fit(data, epochs=30, verbose=0)
    return trainer


@pytest.fixture(scope="module")
def trainer(data: tk.Data) -> tk.Trainer:
    return fitted(data)


def test_brightness_is_learned_in_the_unit_of_the_labels(trainer: tk.Trainer, data: tk.Data) -> None:
    report = trainer.evaluate(data)
    assert isinstance(report, tk.RegressionReport)
    assert report.r2 > 0.9
    labels, outputs = data.splits["test"].labels, trainer.model.predict(data.test, verbose=0)[:, 0]
    np.testing.assert_allclose(outputs, report.predictions, rtol=1e-5)
    assert report.r2 == pytest.approx(metrics.r2_score(labels, outputs), rel=1e-4)
    scale = data.splits["train"].labels.std()
    assert report.loss == pytest.approx(metrics.mean_squared_error(labels, outputs) / scale**2, rel=1e-3)


def test_history_has_metrics_of_numbers(trainer: tk.Trainer, data: tk.Data) -> None:
    values = trainer.history.history
    assert {"val_mae", "val_rmse", "val_r2", "val_loss"} <= set(values)
    labels, outputs = (
        data.splits["validation"].labels,
        trainer.model.predict(data.validation, verbose=0)[:, 0],
    )
    assert values["val_mae"][-1] == pytest.approx(metrics.mean_absolute_error(labels, outputs), rel=1e-4)
    assert values["val_rmse"][-1] == pytest.approx(metrics.root_mean_squared_error(labels, outputs), rel=1e-4)
    assert values["val_r2"][-1] == pytest.approx(metrics.r2_score(labels, outputs), rel=1e-4)


def test_cached_training_equals_plain_training(trainer: tk.Trainer, data: tk.Data) -> None:
    plain = fitted(data, cache=False)
    expected = plain.evaluate(data).predictions
    np.testing.assert_allclose(trainer.evaluate(data).predictions, expected, rtol=1e-4)


def test_fine_tuning_keeps_the_unit(data: tk.Data) -> None:
    trainer = fitted(data)
    before = unit_layer(trainer.model).get_weights()
    error = trainer.evaluate(data.validation).mean_absolute_error
    trainer.fine_tune(data, epochs=3, verbose=0)
    assert all((a == b).all() for a, b in zip(before, unit_layer(trainer.model).get_weights()))
    assert trainer.evaluate(data.validation).mean_absolute_error < 2 * error


def test_keras_file_has_the_unit(trainer: tk.Trainer, data: tk.Data, tmp_path: Path) -> None:
    trainer.model.save(tmp_path / "model.keras")
    images = data.splits["test"].images
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(loaded.predict(images, verbose=0), trainer.model.predict(images, verbose=0), rtol=1e-6)


def test_unit_is_mean_and_standard_deviation_by_hand() -> None:
    model = make_trainer().model
    # Weighted mean (3 * 1 + 5) / 4 = 2, variance (3 * 1 + 9) / 4 = 3.
    set_unit(model, np.array([1.0, 5.0]), np.array([3.0, 1.0]))
    kernel, bias = unit_layer(model).get_weights()
    assert bias.tolist() == [2] and kernel[0, 0] == pytest.approx(3**0.5)
    set_unit(model, np.array([10.0, 20.0]))
    assert unit_layer(model).get_weights()[1].tolist() == [2]


@pytest.mark.parametrize(("name", "expected"), [("mse", 6.5), ("mae", 2.5), ("huber", 2.0), (None, 6.5)])
def test_losses_of_standardized_residuals_by_hand(name: str | None, expected: float) -> None:
    # Residuals 4 and -6 are 2 and -3 standard deviations; of Huber 2 - 0.5 and 3 - 0.5.
    loss = make_loss("number", 1, name, scale=2.0)
    assert float(loss(np.array([5.0, 0.0]), np.array([[1.0], [6.0]]))) == pytest.approx(expected)
    assert float(type(loss).from_config(loss.get_config())([5.0, 0.0], [[1.0], [6.0]])) == pytest.approx(expected)


@pytest.mark.parametrize("loss", ["mae", "huber"])
def test_other_losses_learn_too(loss: str, data: tk.Data) -> None:
    assert fitted(data, loss=loss).evaluate(data).r2 > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "focal"}, "`loss` must be one of 'mse', 'mae', 'huber' for a RegressionHead. Received: 'focal'"),
        ({"metrics": ["auc"]}, r"`metrics` requires class labels. Received: \['auc'\]"),
        ({"label_smoothing": 0.1}, "`label_smoothing` requires class labels. Received: 0.1"),
    ],
)
def test_options_of_classes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_trainer(**options)


REFUSED: dict[str, Callable[[tk.Trainer, tk.Data], Any]] = {
    "autofit": lambda trainer, data: tk.autofit(data, backbones=make_backbone(), time_limit=None, max_trials=1),
    "class_weight": lambda trainer, data: trainer.fit(data, class_weight="balanced"),
    "compare_backbones": lambda trainer, data: tk.compare_backbones(data, make_backbone()),
    "inspect": lambda trainer, data: tk.inspect(data, make_backbone()),
    "interchange": lambda trainer, data: write_fiftyone(data, "folder"),
    "interchange of predictions": lambda trainer, data: write_fiftyone(
        trainer.predict(data.splits["test"].images), "folder"
    ),
    "sklearn": lambda trainer, data: tk.sklearn.ImageClassifier().fit(
        data.splits["test"].images, data.splits["test"].labels
    ),
    "lbfgs": lambda trainer, data: trainer.fit(data, solver="lbfgs"),
    "num_classes": lambda trainer, data: data.num_classes,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_classes_is_refused(name: str, trainer: tk.Trainer, data: tk.Data) -> None:
    with pytest.raises(DataError, match="requires class labels. Received: "):
        REFUSED[name](trainer, data)


def test_head_must_match_the_data(trainer: tk.Trainer, data: tk.Data, synthetic: Path) -> None:
    with pytest.raises(DataError, match="Received: a ClassifierHead for data with numbers"):
        make_trainer(tk.ClassifierHead(2)).fit(data)
    with pytest.raises(DataError, match="Received: a RegressionHead for data with classes"):
        make_trainer().fit(tk.DatasetBuilder(synthetic, image_size=SIZE).build())


def test_search_of_the_learning_rate_leaves_the_model_unchanged(data: tk.Data) -> None:
    trainer = make_trainer()
    before = trainer.model.get_weights()
    search = trainer.find_learning_rate(data, steps=20)
    assert all((a == b).all() for a, b in zip(before, trainer.model.get_weights()))
    # The loss of standardized labels: not in their unit, whose variance is about 2e4.
    assert 0.1 < search.losses[0] < 10
