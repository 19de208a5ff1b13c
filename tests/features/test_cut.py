"""The cut: lower and upper part together are the model, and the cut stands where it is narrow."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_network
from transferkit.modeling.freezing import freeze, unfreeze
from transferkit.modeling.keras_graph import flatten
from transferkit.modeling.partition import partition_model

NAMES = ["MobileNetV2", "ResNet50", "EfficientNetV2B0", "EfficientNetB0", "DenseNet121"]


def classifier(base: keras.Model, augmentation: object = None) -> keras.Model:
    return tk.build_classifier(tk.BackboneFactory.create(base), tk.ClassifierHead(2), augmentation=augmentation)


def built(name: str, side: int = 64) -> keras.Model:
    return getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(side, side, 3))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fraction", [0.0, 0.3])
def test_both_parts_together_are_the_model(name: str, fraction: float) -> None:
    base = built(name)
    model = classifier(base)
    unfreeze(base, fraction=fraction)
    cut = partition_model(model)
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    np.testing.assert_allclose(cut.upper(cut.lower(images)), model(images), atol=1e-5)
    assert {v.path for v in cut.upper.trainable_variables} == {v.path for v in model.trainable_variables}
    assert not cut.lower.trainable_variables


def test_a_frozen_backbone_is_cut_after_the_pooling() -> None:
    cut = partition_model(classifier(built("MobileNetV2")))
    assert [tensor.shape for tensor in cut.lower.outputs] == [(None, 1280)]


@pytest.mark.parametrize(("layer", "shape"), [(100, (None, 10, 10, 96)), (124, (None, 5, 5, 160))])
def test_a_mobilenet_is_cut_where_it_is_narrow(layer: int, shape: tuple[int, ...]) -> None:
    base = built("MobileNetV2", 160)
    model = classifier(base)
    unfreeze(base, layer)
    assert [tensor.shape for tensor in partition_model(model).lower.outputs] == [shape]


def test_augmentation_is_taken_off_and_handed_back() -> None:
    block = tk.AugmentationBlock(rotation=0.1)
    cut = partition_model(classifier(small_network(), block))
    assert cut.augmentation is block
    assert "augmentation" not in cut.layers


def test_batch_normalisation_in_training_ends_the_constant_part() -> None:
    base = small_network()
    model = classifier(base)
    freeze(base)
    base.get_layer("block1_bn").trainable = True
    cut = partition_model(model)
    assert "block1_bn" not in cut.layers and "block0_relu" in cut.layers


def test_nothing_constant_and_nothing_to_look_into() -> None:
    base = small_network()
    model = classifier(base)
    unfreeze(base)
    assert partition_model(model).lower is None


def test_flattening_keeps_layers_and_weights() -> None:
    model = classifier(small_network())
    flat = flatten(model)
    assert not any(isinstance(layer, keras.Model) for layer in flat.layers)
    assert {id(weight) for weight in flat.weights} == {id(weight) for weight in model.weights}
