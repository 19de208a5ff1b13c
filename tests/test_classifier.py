"""Composition of classifiers, and finding their parts."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_network
from transferkit.classifier import find_augmentation
from transferkit.modeling.keras_graph import find_backbone


@pytest.fixture
def backbone() -> Any:
    return tk.BackboneFactory.create(small_network(), preprocessing="tf")


def test_build_classifier_composition(backbone: Any) -> None:
    model = tk.build_classifier(backbone, tk.ClassifierHead(3), augmentation=tk.AugmentationBlock(), name="cats")
    assert (model.name, model.output_shape) == ("cats", (None, 3))
    names = [layer.name for layer in model.layers]
    assert names == ["image", "augmentation", "preprocessing", "small", "pooling", "dropout", "logits"]
    assert find_backbone(model) is backbone.model and not backbone.model.trainable_variables


def test_build_classifier_copies_augmentation(backbone: Any) -> None:
    block = tk.AugmentationBlock(rotation=0.2, fill_mode="constant", seed=3)
    block(keras.Input((32, 32, 3)))
    models = [tk.build_classifier(backbone, tk.ClassifierHead(2), augmentation=block) for _ in range(2)]
    first, second = map(find_augmentation, models)
    assert first is not block and second is not block and first is not second
    assert first.get_config() == second.get_config() == block.get_config()
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    for model, layer in zip(models, (first, second)):
        upper = keras.Model(layer.output, model.output)
        np.testing.assert_allclose(upper(images), model(images), atol=1e-6)


def test_two_classifiers_with_one_augmentation_train(backbone: Any, synthetic: Any) -> None:
    data = tk.DatasetBuilder(synthetic, image_size=32, batch_size=16).build()
    block = tk.AugmentationBlock(rotation=0.1)
    losses = []
    for _ in range(2):
        trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(2), augmentation=block))
        losses.append(trainer.fit(data, epochs=1, verbose=0).history["loss"])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", ["backbone", "head", "augmentation"])
def test_build_classifier_wrong_type_raises(backbone: Any, name: str) -> None:
    arguments = {"backbone": backbone, "head": tk.ClassifierHead(2), "augmentation": None, name: "text"}
    with pytest.raises(TypeError, match=f"`{name}` must be an? .*Received: str"):
        tk.build_classifier(**arguments)


def test_find_augmentation_without_one_is_none() -> None:
    assert find_augmentation(small_network()) is None
