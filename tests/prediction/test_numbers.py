"""Prediction of numbers: values, intervals, tables, and the files of saved models."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from transferkit.calibration.conformal import conformal_half_width
from transferkit.errors import DataError

SIZE = 32


def make_images(labels: np.ndarray, seed: int) -> np.ndarray:
    """Noise whose mean brightness is the label, disturbed so that no model predicts it exactly."""
    generator = np.random.default_rng(seed)
    brightness = labels + generator.normal(0, 8, len(labels))
    noise = generator.normal(0, 20, (len(labels), SIZE, SIZE, 3))
    return np.clip(brightness[:, None, None, None] + noise, 0, 255).astype(np.uint8)


def make_data(count: int, seed: int = 0, **options: Any) -> tk.Data:
    labels = np.random.default_rng(seed).uniform(40, 200, count)
    options = {"validation": 0.3, "image_size": SIZE, "target": "number", **options}
    return tk.DatasetBuilder((make_images(labels, seed), labels), **options).build()


def make_trainer() -> tk.Trainer:
    keras.utils.set_random_seed(1)
    images = keras.Input((SIZE, SIZE, 3))
    features = keras.layers.Conv2D(8, 3, strides=4, activation="relu")(images)
    backbone = tk.BackboneFactory.create(keras.Model(images, features, name="tiny"), preprocessing="tf")
    return tk.Trainer(tk.build_classifier(backbone, tk.RegressionHead(dropout=0)), learning_rate=0.01)


@pytest.fixture(scope="module")
def data() -> tk.Data:
    return make_data(1000)


@pytest.fixture(scope="module")
def trainer(data: tk.Data) -> tk.Trainer:
    trainer = make_trainer()
    trainer.fit(data, epochs=15, verbose=0)
    return trainer


def test_value_is_that_of_the_model(trainer: tk.Trainer, data: tk.Data) -> None:
    images = data.splits["validation"].images
    expected = trainer.model.predict(images, verbose=0)[:, 0]
    predictions = trainer.predict(images)
    np.testing.assert_allclose([one.value for one in predictions], expected, rtol=1e-5)
    single = trainer.predict(images[0])
    assert isinstance(single, tk.NumberPrediction) and single.value == pytest.approx(expected[0], rel=1e-5)
    assert trainer.predictor().target == "number"


def test_half_width_by_hand() -> None:
    # Of 10 residuals, ceil(11 * 0.9) = 10: the largest; of 9, ceil(10 * 0.9) = 9; of 8 there is no tenth.
    assert conformal_half_width(np.arange(1, 11), 0.9) == 10
    assert conformal_half_width(-np.arange(1, 20), 0.9) == 18
    assert conformal_half_width(np.arange(8), 0.9) is None


def test_interval_is_the_quantile_of_validation_residuals(data: tk.Data) -> None:
    trainer = make_trainer()
    trainer.fit(data, epochs=2, verbose=0)
    split = data.splits["validation"]
    residuals = np.sort(np.abs(trainer.model.predict(split.images, verbose=0)[:, 0] - split.labels))
    prediction = trainer.predict(split.images[0])
    # 300 images: ceil(301 * 0.9) = 271.
    assert prediction.high - prediction.value == pytest.approx(residuals[270], rel=1e-4)
    assert prediction.value - prediction.low == pytest.approx(residuals[270], rel=1e-4)
    calibration = trainer.calibrate(data, coverage=0.5)
    assert calibration.half_width == pytest.approx(residuals[150], rel=1e-4)
    assert trainer.predict(split.images[0]).high == pytest.approx(prediction.value + residuals[150], rel=1e-4)


def test_intervals_cover_new_images(trainer: tk.Trainer) -> None:
    labels = np.random.default_rng(5).uniform(40, 200, 2000)
    predictions = trainer.predict(make_images(labels, 6))
    covered = [one.low <= label <= one.high for one, label in zip(predictions, labels)]
    assert 0.85 <= np.mean(covered) <= 0.95


def test_further_training_renews_the_interval(data: tk.Data) -> None:
    trainer = make_trainer()
    trainer.fit(data, epochs=1, verbose=0)
    first = trainer.predictor().calibration
    trainer.fit(data, epochs=15, verbose=0)
    assert trainer.predictor().calibration.half_width < first.half_width / 2


@pytest.mark.parametrize(("validation", "count"), [(None, 100), (0.1, 60)])
def test_without_enough_validation_images_there_is_no_interval(validation: float | None, count: int) -> None:
    data = make_data(count, validation=validation)
    trainer = make_trainer()
    trainer.fit(data, epochs=1, verbose=0)
    prediction = trainer.predict(data.splits["train"].images[0])
    assert prediction.value is not None and prediction.low is None and prediction.high is None


def test_options_of_classes_are_refused(trainer: tk.Trainer, data: tk.Data) -> None:
    with pytest.raises(ValueError, match=r"`accuracy` requires class labels. Received: 0.9 for numbers"):
        trainer.calibrate(data, accuracy=0.9)
    with pytest.raises(DataError, match="An ensemble requires class labels"):
        tk.Ensemble([trainer.predictor(), trainer.predictor()])
    with pytest.raises(ValueError, match="`calibration` must be one of classes for classes"):
        tk.Predictor(
            trainer.model, (), data.image_spec, activation="linear", calibration=tk.calibration.Calibration(2.0)
        )


def test_predictor_by_hand_predicts_the_outputs(trainer: tk.Trainer, data: tk.Data) -> None:
    predictor = tk.Predictor(trainer.model, (), data.image_spec, activation="linear")
    images = data.splits["train"].images[:3]
    assert [one.value for one in predictor.predict(images)] == [one.value for one in trainer.predict(images)]
    assert repr(predictor) == f"Predictor('classifier', numbers, image_size=({SIZE}, {SIZE}))"
    with pytest.raises(ValueError, match="must have one output and no `class_names`. Received: 1 outputs and 2 class"):
        tk.Predictor(trainer.model, ("a", "b"), data.image_spec, activation="linear")


def test_in_distribution_marks_other_images(data: tk.Data) -> None:
    trainer = make_trainer()
    trainer.fit(data, epochs=2, verbose=0)
    calibration = trainer.calibrate(data, in_distribution=0.95)
    assert calibration.half_width is not None
    inside = [one.in_distribution for one in trainer.predict(data.splits["validation"].images)]
    assert np.mean(inside) >= 0.95
    stripes = np.zeros((SIZE, SIZE, 3), np.uint8)
    stripes[:, ::2, 0] = 255
    assert trainer.predict(stripes).in_distribution is False


def test_predictor_evaluates_as_the_trainer_does(trainer: tk.Trainer, data: tk.Data, synthetic: Path) -> None:
    expected, report = trainer.evaluate(data), trainer.predictor().evaluate(data)
    assert isinstance(report, tk.RegressionReport)
    np.testing.assert_allclose(report.predictions, expected.predictions, rtol=1e-5)
    np.testing.assert_array_equal(report.labels, expected.labels)
    with pytest.raises(DataError, match="`dataset` must have numbers as labels for this model. Received: classes"):
        trainer.predictor().evaluate(tk.DatasetBuilder(synthetic, image_size=SIZE).build())


def test_tables_have_values_and_intervals(trainer: tk.Trainer, data: tk.Data, tmp_path: Path) -> None:
    images = data.splits["train"].images[:40]
    written = trainer.predictor().predict_to(images, tmp_path / "numbers.csv")
    assert (written.images, written.errors) == (40, 0)
    with open(tmp_path / "numbers.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    predictions = trainer.predict(images)
    assert list(rows[0]) == ["path", "value", "low", "high", "error"]
    for name in ("value", "low", "high"):
        np.testing.assert_allclose([float(row[name]) for row in rows], [getattr(one, name) for one in predictions])
    predictions.to_csv(tmp_path / "list.csv")
    assert (tmp_path / "list.csv").read_bytes() == (tmp_path / "numbers.csv").read_bytes()


def test_printed_table(data: tk.Data) -> None:
    calibration = tk.calibration.Calibration(coverage=0.9, half_width=2.0)
    predictions = tk.Predictions(
        [
            tk.NumberPrediction("a.jpg", None, 30.0, calibration),
            tk.NumberPrediction("b.jpg", "it is empty", None, calibration),
        ]
    )
    lines = [line.split() for line in repr(predictions).splitlines()]
    assert lines == [
        ["image", "value", "low", "high"],
        ["a.jpg", "30", "28", "32"],
        ["b.jpg", "error:", "it", "is", "empty"],
    ]
    assert predictions[0].to_dict() == {"path": "a.jpg", "value": 30.0, "low": 28.0, "high": 32.0, "error": None}
    assert repr(predictions[0]) == "NumberPrediction(value=30, low=28, high=32, path='a.jpg')"
