"""Estimators of scikit-learn: they work in its tools and agree with the classifier that they contain."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline

import transferkit as tk

SIZE = 16
NAMES = ("blue", "green", "red")


def small_backbone(input_shape: tuple[int, int, int], weights: Any) -> keras.Model:
    images = keras.Input(input_shape)
    features = keras.layers.Conv2D(16, 3, strides=2, activation="relu", kernel_initializer=_initializer())(images)
    return keras.Model(images, features)


def _initializer() -> keras.initializers.Initializer:
    return keras.initializers.GlorotUniform(seed=0)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    tk.BackboneFactory.register("SmallForSklearn", small_backbone, preprocessing="tf")
    yield
    tk.BackboneFactory.unregister("SmallForSklearn")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """60 images, 20 of each of three colors."""
    generator = np.random.default_rng(0)
    colors = np.repeat([[40, 60, 200], [50, 190, 60], [210, 50, 40]], 20, axis=0)[:, None, None]
    return np.clip(colors + generator.normal(0, 40, (60, SIZE, SIZE, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.repeat(NAMES, 20)


def make(**options: Any) -> Any:
    arguments = {"backbone": "SmallForSklearn", "weights": None, "image_size": SIZE, "epochs": 20, **options}
    return tk.sklearn.ImageClassifier(**arguments)


def test_cross_validation(images: np.ndarray, labels: np.ndarray) -> None:
    scores = cross_val_score(make(), images, labels, cv=3)
    assert scores.shape == (3,) and scores.min() > 0.9
    predicted = cross_val_predict(make(), images, labels, cv=3)
    assert np.mean(predicted == labels) > 0.9


def test_grid_search_prefers_training(images: np.ndarray, labels: np.ndarray) -> None:
    search = GridSearchCV(make(), {"learning_rate": [1e-7, 1e-2]}, cv=2, scoring="neg_log_loss")
    search.fit(images, labels)
    assert search.best_params_ == {"learning_rate": 1e-2}
    assert search.best_estimator_.trainer_.history.epochs == 20


def test_probabilities_are_those_of_predictor(images: np.ndarray, labels: np.ndarray) -> None:
    classifier = make().fit(images, labels)
    assert classifier.classes_.tolist() == list(NAMES)
    probabilities = classifier.predict_proba(images[::7])
    expected = np.stack([one.probability_array for one in classifier.predictor_.predict(images[::7])])
    np.testing.assert_array_equal(probabilities, expected)
    np.testing.assert_array_equal(classifier.predict(images[::7]), classifier.classes_[expected.argmax(axis=1)])
    again = make().fit(images, labels)
    np.testing.assert_allclose(again.predict_proba(images[::7]), probabilities, atol=1e-6)


@pytest.mark.parametrize("kind", ["int", "negative", "bool"])
def test_labels_keep_type(kind: str, images: np.ndarray) -> None:
    values = {"int": [10, 20], "negative": [-1, 1], "bool": [False, True]}[kind]
    labels = np.repeat(values, 20)
    classifier = make().fit(images[20:], labels)
    predicted = classifier.predict(images[20:])
    assert predicted.dtype == labels.dtype and np.mean(predicted == labels) > 0.9
    assert classifier.predict_proba(images[20:]).shape == (40, 2)
    assert classifier.score(images[20:], labels) == np.mean(predicted == labels)


def test_paths(synthetic: Path) -> None:
    paths = sorted((synthetic / "train").rglob("*.jpg"))
    labels = [path.parent.name for path in paths]
    classifier = make(image_size=32).fit(paths, labels)
    shown = classifier.trainer_.evaluate(
        tk.DatasetBuilder((list(map(str, paths)), labels), image_size=32).build().train
    )
    assert classifier.score(paths, labels) == shown.accuracy
    contents = [path.read_bytes() for path in paths]
    np.testing.assert_allclose(classifier.predict_proba(contents), classifier.predict_proba(paths), atol=1e-6)


def test_fine_tuning_and_augmentation(images: np.ndarray, labels: np.ndarray) -> None:
    classifier = make(epochs=2, fine_tune_epochs=3, augmentation="light").fit(images, labels)
    assert [len(phase.history["loss"]) for phase in classifier.trainer_.history.phases] == [2, 3]


def test_clone_and_parameters() -> None:
    classifier = make(dropout=0.5)
    copy = clone(classifier).set_params(epochs=3)
    assert copy.get_params() == {**classifier.get_params(), "epochs": 3}
    assert "dropout=0.5" in repr(classifier) and not hasattr(copy, "predictor_")


def test_features_in_pipeline(images: np.ndarray, labels: np.ndarray) -> None:
    features = tk.sklearn.ImageFeatures("SmallForSklearn", weights=None, image_size=SIZE)
    pipeline = make_pipeline(features, LogisticRegression())
    assert cross_val_score(pipeline, images, labels, cv=3).min() > 0.9
    backbone = tk.BackboneFactory.create("SmallForSklearn", weights=None, input_shape=(SIZE, SIZE, 3))
    np.testing.assert_allclose(features.fit(images).transform(images), backbone.features(images), atol=1e-6)


def test_errors(images: np.ndarray, labels: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        make().predict(images)
    with pytest.raises(NotFittedError):
        tk.sklearn.ImageFeatures().transform(images)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make().fit(images, labels[:-1])
    with pytest.raises(tk.DataError, match=r"`y` must have at least two classes with different names\. Received: "):
        make().fit(images, np.zeros(60))
    with pytest.raises(ValueError, match=r"`fine_tune_epochs` must be an integer of at least 0"):
        make(fine_tune_epochs=-1).fit(images, labels)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"<html></html>")
    with pytest.raises(tk.ImageError, match=r"broken\.jpg': it is an HTML page"):
        make().fit([*map(str, [broken] * 2)], ["a", "b"])
    classifier = make(epochs=1).fit(images, labels)
    for image, name in ((broken, r"broken\.jpg"), (b"<html></html>", "<bytes>")):
        with pytest.raises(tk.ImageError, match=f"Cannot read image '.*{name}': it is an HTML page"):
            classifier.predict([image])


def test_without_scikit_learn_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\nimport transferkit as tk\n"
        "try:\n    tk.sklearn\nexcept tk.MissingExtraError as error:\n    print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "transferkit.sklearn requires the package 'scikit-learn'" in result.stdout, result.stderr
    assert 'pip install "transferkit[sklearn]"' in result.stdout
