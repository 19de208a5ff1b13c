"""Evaluation of predictors, which may come from a file."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss

import transferkit as tk
from transferkit.calibration import Calibration
from transferkit.errors import DataError
from transferkit.images import ImageSpec
from transferkit.prediction import Predictor

from .conftest import brightness_model

NAMES = ("cats", "dogs")


@pytest.fixture(scope="module")
def data(synthetic: Path) -> tk.Data:
    return tk.DatasetBuilder(synthetic / "train", test=0.5, image_size=48, progress=False).build()


def make(names: tuple[str, ...] = NAMES, **options: object) -> Predictor:
    return Predictor(brightness_model(), names, ImageSpec((48, 48)), activation="sigmoid", **options)


def test_evaluate_equals_predictions(data: tk.Data) -> None:
    predictor = make()
    report = predictor.evaluate(data)
    predictions = predictor.predict(data.files["test"])
    labels = data.splits["test"].labels
    assert report.accuracy == np.mean([one.label == NAMES[label] for one, label in zip(predictions, labels)])
    assert report.paths == tuple(data.files["test"])
    assert report.loss == pytest.approx(log_loss(labels, report.probabilities, labels=[0, 1]), abs=1e-6)
    assert predictor.evaluate(data.test).probabilities.tolist() == report.probabilities.tolist()


def test_evaluate_equals_trainer(data: tk.Data, tmp_path: Path) -> None:
    model = tk.build_classifier(
        tk.BackboneFactory.create(small_backbone(), input_shape=(48, 48, 3)), tk.ClassifierHead(2)
    )
    trainer = tk.Trainer(model, seed=1)
    trainer.fit(data, epochs=2, verbose=0)
    trainer.save(tmp_path / "classifier")
    expected, actual = trainer.evaluate(data), tk.load(tmp_path / "classifier").evaluate(data)
    np.testing.assert_allclose(actual.probabilities, expected.probabilities, atol=1e-5)
    assert actual.loss == pytest.approx(expected.loss, abs=1e-5) and actual.paths == expected.paths


def small_backbone() -> keras.Model:
    inputs = keras.Input((48, 48, 3))
    return keras.Model(inputs, keras.layers.Conv2D(4, 5, strides=4)(inputs))


def test_evaluate_uses_thresholds(data: tk.Data) -> None:
    report = make(calibration=Calibration(thresholds=(0.0,))).evaluate(data)
    assert report.thresholds == (0.0,) and (report.predictions == 1).all()


@pytest.mark.parametrize("one_hot", [False, True])
def test_evaluate_dataset_of_user(one_hot: bool) -> None:
    images = np.stack([np.full((48, 48, 3), level, np.uint8) for level in (0, 255, 250, 3)])
    labels = np.array([0, 1, 0, 0])
    dataset = tf.data.Dataset.from_tensor_slices((images, np.eye(2)[labels] if one_hot else labels)).batch(3)
    report = make().evaluate(dataset)
    assert report.accuracy == 0.75 and report.paths is None and report.labels.tolist() == [0, 1, 0, 0]


def test_evaluate_skips_file_that_was_damaged_since(synthetic: Path, tmp_path: Path, caplog) -> None:
    shutil.copytree(synthetic / "train", tmp_path / "images")
    data = tk.DatasetBuilder(tmp_path / "images", test=0.5, image_size=48, progress=False).build()
    Path(data.files["test"][1]).write_bytes(b"<html>")
    with caplog.at_level(logging.WARNING, "transferkit"):
        report = make().evaluate(data)
    assert report.paths == tuple(data.files["test"][:1] + data.files["test"][2:])
    assert report.labels.tolist() == np.delete(data.splits["test"].labels, 1).tolist()
    assert "is skipped: it is an HTML page." in caplog.text


def test_evaluate_other_classes_raises(data: tk.Data) -> None:
    expected = (
        r"must have the classes of the classifier, in their order. Received: \['cats', 'dogs'\], and .*\['a', 'b'\]"
    )
    with pytest.raises(DataError, match=expected):
        make(("a", "b")).evaluate(data)


def test_evaluate_without_labeled_images_raises(synthetic: Path) -> None:
    data = tk.DatasetBuilder(synthetic / "train", image_size=48, progress=False).build()
    with pytest.raises(DataError, match="must have a test or a validation split. Received: data with training images"):
        make().evaluate(data)
    with pytest.raises(TypeError, match="`dataset` must be Data, one of its splits, or a tf.data.Dataset"):
        make().evaluate(str(synthetic))
    with pytest.raises(
        TypeError, match=r"must have batches \(images, labels\). Received: elements of the type ndarray"
    ):
        make().evaluate(tf.data.Dataset.from_tensors(np.zeros((1, 48, 48, 3))))
