"""Heads for few images: their weights, their predictions in all parts of the package, and refused options."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier, small_network
from transferkit.data import Data

KINDS: dict[str, dict[str, Any]] = {
    "prototype": {},
    "prototype with scale": {"scale": 12.0},
    "cosine": {},
    "cosine with scale": {"scale": 12.0},
    "knn": {"max_images": 64},
    "knn with scale": {"max_images": 64, "scale": 12.0, "neighbors": 3},
    "mlp": {"hidden": (8,)},
}


def classifier(name: str, num_classes: int = 2) -> keras.Model:
    return small_classifier(num_classes=num_classes, kind=name.partition(" ")[0], **KINDS[name])


def fitted(name: str, data: Data) -> tk.Trainer:
    trainer = tk.Trainer(classifier(name), learning_rate=0.01 if name.startswith(("cosine", "mlp")) else "auto")
    trainer.fit(data, epochs="auto" if name.startswith(("prototype", "knn")) else 30, verbose=0)
    return trainer


def unit_features(data: Data, split: str = "train") -> np.ndarray:
    backbone = tk.BackboneFactory.create(small_network(), preprocessing="tf")
    features = backbone.features(data.splits[split])
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize("name", KINDS)
def test_head_is_evaluated_predicted_calibrated_saved_and_explained(name: str, data: Data, tmp_path: Path) -> None:
    trainer = fitted(name, data)
    report = trainer.evaluate(data.validation)
    history = trainer.history.history
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"} and history["accuracy"][-1] > 0.55
    assert report.loss == pytest.approx(history["val_loss"][-1], abs=1e-4)
    trainer.calibrate(data)
    saved = tk.load(trainer.save(tmp_path / "saved"), engine="keras")
    expected = [one.probability_array for one in trainer.predict(data.splits["validation"])]
    actual = [one.probability_array for one in saved.predict(data.splits["validation"])]
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert saved.embed(data.splits["validation"]).shape == (10, 16)
    (explanation,) = tk.explain(saved, data.files["validation"][:1])
    assert explanation.error is None and explanation.heatmap is not None and np.isfinite(explanation.heatmap).all()


@pytest.mark.parametrize("name", ["prototype", "cosine", "knn"])
def test_saved_head_does_not_need_the_package(name: str, data: Data, tmp_path: Path) -> None:
    fitted(name, data).save(tmp_path / "saved")
    with zipfile.ZipFile(tmp_path / "saved" / "model.keras") as archive:
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    assert len(layers) > 4 and "transferkit" not in json.dumps(layers)


def test_prototype_logits_are_differences_of_cosines(data: Data) -> None:
    trainer = fitted("prototype with scale", data)
    features, labels = unit_features(data), data.splits["train"].labels
    means = np.stack([features[labels == index].mean(axis=0) for index in range(2)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    cosines = unit_features(data, "validation") @ means.T
    expected = 1 / (1 + np.exp(-12.0 * (cosines[:, 1] - cosines[:, 0])))
    np.testing.assert_allclose(trainer.evaluate(data.validation).probabilities[:, 1], expected, atol=1e-4)


def test_knn_probabilities_are_votes_of_the_nearest(data: Data) -> None:
    trainer = fitted("knn with scale", data)
    cosines = unit_features(data, "validation") @ unit_features(data).T
    nearest = np.argsort(-cosines, axis=1)[:, :3]
    weights = np.exp(12.0 * np.take_along_axis(cosines, nearest, axis=1))
    weights /= weights.sum(axis=1, keepdims=True)
    votes = (weights * (data.splits["train"].labels[nearest] == 1)).sum(axis=1)
    expected = (votes + 0.01) / 1.02
    np.testing.assert_allclose(trainer.evaluate(data.validation).probabilities[:, 1], expected, atol=1e-3)


def test_knn_with_three_classes() -> None:
    images = np.zeros((30, 32, 32, 3), np.uint8)
    labels = np.arange(30) % 3
    images[np.arange(30), :, :, labels] = 200 + np.arange(30)[:, None, None] % 7
    data = tk.DatasetBuilder((images, labels), image_size=32, validation=0.3).build()
    for name in ("knn", "prototype"):
        trainer = tk.Trainer(classifier(name, num_classes=3))
        trainer.fit(data)
        assert trainer.evaluate(data.validation).accuracy == 1.0, name


def test_knn_with_more_images_than_its_head_raises(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(kind="knn", max_images=10))
    with pytest.raises(ValueError, match="to `max_images` of the head, 5 to 10. Received: 40 views of images. Build"):
        trainer.fit(data)


@pytest.mark.parametrize("kind", ["prototype", "knn"])
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"solver": "adam"}, "`solver` must be 'auto' for a head of kind='{kind}'"),
        ({"solver": "lbfgs"}, "`solver` must be 'auto' for a head of kind='{kind}'"),
        ({"learning_rate": 0.1}, "`learning_rate` is not supported with a head of kind='{kind}'"),
        ({"schedule": "cosine"}, "`schedule` is not supported with a head of kind='{kind}'"),
        ({"class_weight": "balanced"}, "`class_weight` is not supported with a head of kind='{kind}'"),
        ({"l2": 0.1}, "`l2` is for solver='lbfgs'. Received: l2=0.1 with a head of kind='{kind}'"),
    ],
)
def test_computed_head_with_option_of_steps_raises(data: Data, kind: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as error:
        tk.Trainer(small_classifier(kind=kind)).fit(data, **options)
    assert text.format(kind=kind) in str(error.value)


@pytest.mark.parametrize("kind", ["prototype", "knn"])
def test_computed_head_is_not_fine_tuned(data: Data, kind: str) -> None:
    trainer = tk.Trainer(small_classifier(kind=kind))
    trainer.fit(data)
    with pytest.raises(
        ValueError, match=f"Fine-tuning requires a head that is trained by steps. Received: kind='{kind}'"
    ):
        trainer.fine_tune(data, epochs=1)


def test_cosine_weights_have_length_one_after_fine_tuning(data: Data) -> None:
    trainer = fitted("cosine", data)
    trainer.fine_tune(data, epochs=1, keep_best=False, verbose=0)
    kernel = trainer.model.get_layer("cosines").get_weights()[0]
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), 1.0, rtol=1e-5)
    assert trainer.model.get_layer("scale").get_weights()[0] != 10.0


def test_auto_solver_is_optimum_for_few_images(data: Data) -> None:
    automatic, solved = (tk.Trainer(small_classifier()) for _ in range(2))
    automatic.fit(data, verbose=0)
    solved.fit(data, solver="lbfgs")
    assert automatic.history.epochs == 1
    for first, second in zip(automatic.model.get_weights(), solved.model.get_weights()):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("trainer", "head", "fit"),
    [
        ({}, {}, {"epochs": 2}),
        ({"optimizer": "sgd"}, {}, {}),
        ({"learning_rate": 0.1}, {}, {}),
        ({}, {"l2": 0.1}, {}),
        ({}, {"hidden": (4,)}, {}),
        ({}, {}, {"schedule": "cosine"}),
        ({"label_smoothing": 0.1}, {}, {}),
        ({"cache": False}, {}, {}),
    ],
)
def test_auto_solver_takes_steps_with_options_of_steps(
    data: Data, trainer: dict[str, Any], head: dict[str, Any], fit: dict[str, Any]
) -> None:
    made = tk.Trainer(small_classifier(**head), **trainer)
    made.fit(data, **{"verbose": 0, **fit})
    assert made.history.epochs > 1


def test_given_l2_is_used(data: Data) -> None:
    strong, weak = (tk.Trainer(small_classifier()) for _ in range(2))
    strong.fit(data, solver="lbfgs", l2=100.0)
    weak.fit(data, solver="lbfgs", l2=1e-3)
    norms = [np.linalg.norm(one.model.get_layer("logits").get_weights()[0]) for one in (strong, weak)]
    assert norms[0] < 0.1 * norms[1]
    with pytest.raises(ValueError, match="`l2` must be a finite number of at least 0. Received: -1. Give a number"):
        strong.fit(data, solver="lbfgs", l2=-1)
