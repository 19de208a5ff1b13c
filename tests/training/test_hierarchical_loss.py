"""The loss of classes in groups: values by hand, Keras' cross-entropy, serialization, training."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_network

NAMES = ["cat/a", "cat/b", "dog/c", "dog/d"]
LOGITS = np.log([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]]).astype("float32")


def test_values_by_hand() -> None:
    loss = tk.HierarchicalCrossentropy(NAMES, "/", group_weight=0.25, reduction=None)
    expected = -0.75 * np.log([0.4, 0.3]) - 0.25 * np.log([0.7, 0.7])
    np.testing.assert_allclose(loss(np.array([0, 2]), LOGITS), expected, rtol=1e-5)


def test_weights_of_zero_and_one_are_cross_entropies() -> None:
    labels = np.array([1, 3])
    classes = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    groups = np.log([[0.7, 0.3], [0.3, 0.7]]).astype("float32")
    loss = {weight: tk.HierarchicalCrossentropy(NAMES, "/", group_weight=weight) for weight in (0.0, 1.0)}
    assert float(loss[0.0](labels, LOGITS)) == pytest.approx(float(classes(labels, LOGITS)), rel=1e-5)
    assert float(loss[1.0](labels, LOGITS)) == pytest.approx(float(classes(labels // 2, groups)), rel=1e-5)


def test_large_logits_are_finite() -> None:
    logits = np.array([[1000.0, 0.0, 0.0, 0.0]], "float32")
    assert np.isfinite(float(tk.HierarchicalCrossentropy(NAMES, "/")([3], logits)))


def test_configuration_restores_the_loss() -> None:
    loss = tk.HierarchicalCrossentropy(NAMES, {name: name[:3] for name in NAMES}, group_weight=0.3)
    restored = keras.losses.deserialize(keras.losses.serialize(loss))
    labels = np.array([1, 3])
    assert float(restored(labels, LOGITS)) == float(loss(labels, LOGITS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": {"cat/a": "cat"}}, "`groups` must have a group for every class. Received: none for 'cat/b'"),
        ({"group_weight": 1.5}, r"`group_weight` must be .*\[0, 1\]. Received: 1.5"),
        ({"class_names": ["a", "b"]}, "`class_names` must have at least three classes. Received: "),
    ],
)
def test_invalid_arguments_raise(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tk.HierarchicalCrossentropy(**{"class_names": NAMES, "groups": "/", **arguments})


def test_trainer_minimizes_it() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(80) % 4
    images = np.clip(50 * labels[:, None, None, None] + generator.normal(30, 10, (80, 32, 32, 3)), 0, 255)
    source = images.astype("uint8"), labels
    data = tk.DatasetBuilder(source, class_names=NAMES, validation=0.25, image_size=32, progress=False).build()
    backbone = tk.BackboneFactory.create(small_network(), preprocessing="tf")
    model = tk.build_classifier(backbone, tk.ClassifierHead(4, dropout=0.0))
    trainer = tk.Trainer(model, loss=tk.HierarchicalCrossentropy(NAMES, "/"), learning_rate=0.03)
    trainer.fit(data, epochs=80, verbose=0)
    losses = trainer.history.history["loss"]
    assert losses[0] == pytest.approx((np.log(4) + np.log(2)) / 2, abs=0.05)
    assert losses[-1] < 0.4 * losses[0]
    report = trainer.evaluate(data.validation)
    assert report.grouped("/").accuracy > 0.8
