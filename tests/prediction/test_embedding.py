"""Features of predictors, and distances to the training images."""

from __future__ import annotations

import threading
from pathlib import Path

import keras
import numpy as np
import pytest

import transferkit as tk
from transferkit.calibration import Calibration
from transferkit.calibration.distribution import reference_features
from transferkit.images import ImageSpec
from transferkit.modeling.embedding import embedding_model
from transferkit.prediction import Predictor


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(1)
    backbone = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(6, 5, strides=4, activation="relu")])
    created = tk.BackboneFactory.create(backbone, input_shape=(32, 32, 3))
    augmentation = tk.AugmentationBlock(flip="horizontal")
    return tk.build_classifier(created, tk.ClassifierHead(3, hidden=(5,)), augmentation=augmentation)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3)).astype(np.uint8)


def make(model: keras.Model, **options: object) -> Predictor:
    return Predictor(model, ["a", "b", "c"], ImageSpec((32, 32)), activation="softmax", **options)


def test_embed_is_input_of_head(model: keras.Model, images: np.ndarray) -> None:
    backbone = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    pooled = np.asarray(backbone(images.astype("float32"))).mean(axis=(1, 2))
    features = make(model).embed(images)
    assert features.shape == (40, 6) and features.dtype == np.float32
    np.testing.assert_allclose(features, pooled, rtol=1e-4, atol=1e-3)
    one = make(model).embed(images[0])
    assert one.shape == (6,)
    np.testing.assert_allclose(one, features[0], rtol=1e-5, atol=1e-4)
    assert make(model).embed([]).shape == (0, 6)


def test_embed_unreadable_file_raises(model: keras.Model, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"<html>")
    with pytest.raises(tk.ImageError, match="it is an HTML page"):
        make(model).embed([str(tmp_path / "a.jpg")])


def test_embedding_of_flat_model_with_two_poolings() -> None:
    inputs = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(2, 3)(inputs)
    pools = [keras.layers.GlobalAveragePooling2D()(maps), keras.layers.GlobalMaxPooling2D()(maps)]
    joined = keras.layers.Concatenate()(pools)
    output = keras.layers.Dense(2)(keras.layers.Dropout(0.5)(joined))
    assert embedding_model(keras.Model(inputs, output)).output_shape == (None, 4)


def test_embed_model_without_graph_raises(images: np.ndarray) -> None:
    class Subclassed(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, inputs):
            return self.dense(keras.ops.mean(inputs, axis=(1, 2)))

    model = Subclassed()
    model(images[:1].astype("float32"))
    model.output_shape = (None, 3)
    with pytest.raises(ValueError, match="`model` must have a graph of layers for features. Received: 'subclassed"):
        make(model, engine="keras").embed(images[0])


def test_prediction_in_distribution(model: keras.Model, images: np.ndarray) -> None:
    reference = reference_features(make(model).embed(images))
    calibration = Calibration(max_distance=0.5, training_features=reference)
    predictor = make(model, calibration=calibration)
    known, other = predictor.predict([images[0], np.zeros((32, 32, 3), np.uint8)])
    plain = make(model).predict(images[0])
    np.testing.assert_allclose(known.probability_array, plain.probability_array, atol=1e-5)
    similarities = np.sort(reference.astype(float) @ reference[0].astype(float))
    assert known.distance == pytest.approx(1 - similarities[-5], abs=1e-3) and known.in_distribution is True
    # The features of a black image are 0, without a direction.
    assert other.distance == 1 and other.in_distribution is False
    assert plain.in_distribution is None and plain.distance is None
    assert known.to_dict()["in_distribution"] is known.in_distribution


def test_predictor_serves_many_threads(model: keras.Model, images: np.ndarray) -> None:
    predictor = make(model)
    expected = [one.probability_array for one in predictor.predict(images)]
    results: dict[int, np.ndarray] = {}

    def serve(start: int) -> None:
        for index in range(start, len(images), 4):
            results[index] = predictor.predict(images[index]).probability_array

    threads = [threading.Thread(target=serve, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose([results[index] for index in range(len(images))], expected, atol=1e-5)


def test_warm_up_compiles_for_all_later_calls(model: keras.Model, images: np.ndarray, monkeypatch) -> None:
    from transferkit import engines

    predictor = make(model)
    predictor.warm_up()
    monkeypatch.setattr(engines, "compile_engine", None)
    for image in images[:8]:
        predictor.predict(image)
    assert len(predictor.predict(images)) == 40
