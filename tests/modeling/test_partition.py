"""Partitions at the freeze boundary: both parts together are the model, and the boundary is narrow."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_network
from transferkit.classifier import find_augmentation
from transferkit.modeling.freezing import freeze, unfreeze
from transferkit.modeling.partition import partition_model

SLOW = {"EfficientNetB0", "DenseNet121"}
NAMES = ["MobileNetV2", "ResNet50", "EfficientNetV2B0", "EfficientNetB0", "DenseNet121"]


def classifier(base: keras.Model, augmentation: object = None) -> keras.Model:
    return tk.build_classifier(tk.BackboneFactory.create(base), tk.ClassifierHead(2), augmentation=augmentation)


def built(name: str, side: int = 64) -> keras.Model:
    return getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(side, side, 3))


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NAMES])
@pytest.mark.parametrize("fraction", [0.0, 0.3])
def test_partition_model_parts_compose_to_model(name: str, fraction: float) -> None:
    base = built(name)
    model = classifier(base)
    unfreeze(base, fraction=fraction)
    partition = partition_model(model)
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    np.testing.assert_allclose(partition.trainable(partition.frozen(images)), model(images), atol=1e-5)
    assert {v.path for v in partition.trainable.trainable_variables} == {v.path for v in model.trainable_variables}
    assert not partition.frozen.trainable_variables


def test_partition_model_frozen_backbone_ends_at_pooling() -> None:
    partition = partition_model(classifier(built("MobileNetV2")))
    assert [tensor.shape for tensor in partition.frozen.outputs] == [(None, 1280)]
    assert partition.feature_shapes == [(1280,)]


@pytest.mark.parametrize(("layer", "shape"), [(100, (None, 10, 10, 96)), (124, (None, 5, 5, 160))])
def test_partition_model_boundary_is_narrow(layer: int, shape: tuple[int, ...]) -> None:
    base = built("MobileNetV2", 160)
    model = classifier(base)
    unfreeze(base, layer)
    assert [tensor.shape for tensor in partition_model(model).frozen.outputs] == [shape]


def test_partition_model_returns_augmentation() -> None:
    block = tk.AugmentationBlock(rotation=0.1)
    model = classifier(small_network(), block)
    partition = partition_model(model)
    assert partition.augmentation is find_augmentation(model)
    assert partition.augmentation.get_config() == block.get_config()
    assert "augmentation" not in partition.layers


def test_partition_model_trainable_batch_norm_is_not_frozen() -> None:
    base = small_network()
    model = classifier(base)
    freeze(base)
    base.get_layer("block1_bn").trainable = True
    partition = partition_model(model)
    assert "block1_bn" not in partition.layers and "block0_relu" in partition.layers


def test_partition_model_random_layer_is_not_frozen() -> None:
    base = small_network()
    model = classifier(base)
    freeze(base)
    base.get_layer("block1_drop").rate = 0.1
    partition = partition_model(model)
    assert "block1_drop" not in partition.layers and "block0_drop" in partition.layers


def two_networks() -> keras.Model:
    """Two backbones side by side whose layers have the same names, as ResNet50 and ResNet101 have."""
    images = keras.Input((32, 32, 3))
    pooled = []
    for index in range(2):
        base = small_network()
        base.name = f"base_{index}"
        freeze(base)
        pooled.append(keras.layers.GlobalAveragePooling2D()(base(images)))
    return keras.Model(images, keras.layers.Dense(1)(keras.layers.Concatenate()(pooled)))


def test_partition_model_with_two_backbones_of_equal_names() -> None:
    model = two_networks()
    assert {"base_0", "base_1"} <= set(partition_model(model).layers)
    unfreeze(model.get_layer("base_1"))
    # Its parts cannot be in one graph without nested models, so that it is trained as a whole.
    partition = partition_model(model)
    assert "base_0" in partition.layers and partition.limit.startswith(
        "several layers of its nested models have the na"
    )
    features = partition.frozen(np.ones((2, 32, 32, 3), np.float32))
    images = np.ones((2, 32, 32, 3), np.float32)
    np.testing.assert_allclose(partition.trainable(features), model(images), atol=1e-6)


def test_partition_model_without_frozen_part() -> None:
    base = small_network()
    model = classifier(base)
    unfreeze(base)
    partition = partition_model(model)
    assert partition.frozen is None and partition.trainable is not None
    assert partition.feature_shapes == [] and partition.layers == ()


def test_partition_model_without_graph_is_trainable_as_a_whole() -> None:
    class Custom(keras.Model):
        def call(self, images: object) -> object:
            return images

    model = Custom()
    partition = partition_model(model)
    assert partition.frozen is None and partition.trainable is model
