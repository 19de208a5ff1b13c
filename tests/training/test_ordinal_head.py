"""The head for classes in an order: training from cached features, saving, export, and refused solvers."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_network
from transferkit.data import Data

STAGES = ["dark", "dim", "bright", "white"]


def stages(count: int = 160) -> Data:
    """Return images whose class is their brightness."""
    generator = np.random.default_rng(0)
    labels = generator.integers(4, size=count)
    levels = 40 + 55 * labels + generator.normal(0, 12, count)
    images = np.clip(levels[:, None, None, None] + generator.normal(0, 10, (count, 32, 32, 3)), 0, 255)
    source = images.astype("uint8"), labels
    return tk.DatasetBuilder(source, class_names=STAGES, validation=0.25, image_size=32, progress=False).build()


def classifier() -> keras.Model:
    backbone = tk.BackboneFactory.create(small_network(), preprocessing="tf")
    return tk.build_classifier(backbone, tk.ClassifierHead(4, kind="ordinal", dropout=0.0))


@pytest.fixture(scope="module")
def trainer() -> tk.Trainer:
    trainer = tk.Trainer(classifier(), learning_rate=0.03)
    trainer.fit(stages(), epochs=40, verbose=0)
    return trainer


def test_predictions_are_near_the_true_class(trainer: tk.Trainer) -> None:
    report = trainer.evaluate(stages().validation)
    assert report.accuracy > 0.7 and report.within_one_accuracy == 1.0 and report.quadratic_kappa > 0.85


def test_cached_features_train_the_same_head_as_images() -> None:
    weights = []
    for limit in (None, 0):
        trainer = tk.Trainer(classifier(), max_feature_bytes=limit, learning_rate=0.03)
        trainer.fit(stages(64), epochs=3, verbose=0)
        assert trainer.history.phases[0].trained_on == ("images" if limit == 0 else "features")
        weights.append(trainer.model.get_layer("thresholds").get_weights())
    for first, second in zip(*weights):
        np.testing.assert_allclose(first, second, atol=1e-4)


def test_saved_and_exported_classifiers_predict_the_same(trainer: tk.Trainer, tmp_path: Path) -> None:
    validation = stages().splits["validation"]
    expected = np.array([one.probability_array for one in trainer.predict(validation)])
    assert expected.sum(axis=1) == pytest.approx(1, abs=1e-5)
    saved = tk.load(trainer.save(tmp_path / "saved"), engine="keras")
    actual = [one.probability_array for one in saved.predict(validation)]
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert tk.export(saved, tmp_path / "classifier.onnx").max_difference < 1e-5


def test_optimum_of_a_linear_head_is_refused() -> None:
    with pytest.raises(ValueError, match="`solver='lbfgs'` requires a linear head on a frozen backbone"):
        tk.Trainer(classifier()).fit(stages(64), solver="lbfgs", verbose=0)


def test_few_images_are_trained_by_steps() -> None:
    trainer = tk.Trainer(classifier())
    trainer.fit(stages(48), verbose=0)
    assert trainer.model.output_shape == (None, 4) and len(trainer.history.history["loss"]) > 1
