"""Which frozen calls can be cached: those that do in training what they do in inference."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_network
from transferkit.modeling.constancy import why_no_nodes_constant
from transferkit.modeling.freezing import freeze
from transferkit.modeling.keras_graph import graph_nodes
from transferkit.modeling.partition import partition_model


@keras.saving.register_keras_serializable("tests")
class Penalty(keras.layers.Layer):
    def call(self, inputs: Any) -> Any:
        self.add_loss(keras.ops.mean(inputs))
        return inputs


@keras.saving.register_keras_serializable("tests")
class MovingMean(keras.layers.Layer):
    def build(self, shape: Any) -> None:
        self.mean = self.add_weight(shape=(shape[-1],), initializer="zeros", trainable=False)

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training:
            self.mean.assign(0.5 * self.mean + 0.5 * keras.ops.mean(inputs, axis=(0, 1, 2)))
        return inputs - self.mean


@keras.saving.register_keras_serializable("tests")
class Block(keras.layers.Layer):
    def __init__(self, inner: keras.layers.Layer, **options: Any) -> None:
        super().__init__(**options)
        self.inner = inner

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.inner(inputs, training=training)


@keras.saving.register_keras_serializable("tests")
class Twice(keras.layers.Layer):
    def call(self, inputs: Any) -> Any:
        return 2 * inputs


def reason_of(*layers: Any, frozen: bool = True) -> str | None:
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    if frozen:
        freeze(model)
    return why_no_nodes_constant(graph_nodes(model))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.Dropout(0.5),
        lambda: keras.layers.SpatialDropout2D(0.5),
        lambda: keras.layers.GaussianDropout(0.5),
        lambda: keras.layers.AlphaDropout(0.5),
        lambda: keras.layers.GaussianNoise(0.5),
        lambda: keras.layers.BatchNormalization(),
        lambda: Block(keras.layers.Dropout(0.5)),
        lambda: Block(keras.layers.BatchNormalization()),
        lambda: Twice(),
    ],
)
def test_frozen_layer_is_constant(layer: Any) -> None:
    assert reason_of(layer()) is None


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: keras.layers.Conv2D(4, 1, activity_regularizer="l2"), "activity regularizer adds to the loss"),
        (lambda: Block(keras.layers.ActivityRegularization(l2=0.1)), "activity regularizer adds to the loss"),
        (lambda: Penalty(), "adds to the loss"),
        (lambda: MovingMean(), "changes its variables"),
        (lambda: keras.layers.RandomFlip(), "random in training"),
    ],
)
def test_layer_with_state_or_loss_is_not_constant(layer: Any, reason: str) -> None:
    assert reason in str(reason_of(layer()))


def test_trained_layers_are_not_constant() -> None:
    assert reason_of(keras.layers.Conv2D(4, 1), frozen=False) == "it is trained"
    statistics = keras.layers.BatchNormalization(center=False, scale=False)
    assert "statistics of each batch" in str(reason_of(statistics, frozen=False))


def test_probe_changes_no_variable() -> None:
    layer = MovingMean()
    reason_of(layer)
    assert not layer.mean.numpy().any() and not layer.losses


def test_frozen_attention_has_no_dropout() -> None:
    images = keras.Input((8, 8, 3))
    tokens = keras.layers.Reshape((-1, 3))(images)
    model = keras.Model(images, keras.layers.MultiHeadAttention(1, 2, dropout=0.5)(tokens, tokens))
    freeze(model)
    pixels = keras.random.uniform((2, 8, 8, 3), seed=0)
    assert float(keras.ops.max(keras.ops.abs(model(pixels, training=True) - model(pixels, training=False)))) < 1e-6
    assert why_no_nodes_constant(graph_nodes(model)) is None


@pytest.mark.parametrize("layer", [Penalty, MovingMean])
def test_training_with_cache_equals_training_without(layer: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), np.uint8)
    data = tk.DatasetBuilder((images, np.arange(24) % 2), image_size=32, validation=0.25, batch_size=8).build()
    losses = []
    for cache in (True, False):
        network = keras.Sequential([*small_network().layers, layer(name="custom")])
        network.build((None, 32, 32, 3))
        model = tk.build_classifier(tk.BackboneFactory.create(network), tk.ClassifierHead(2, dropout=0))
        trainer = tk.Trainer(model, learning_rate=0.1, cache=cache)
        assert cache is False or "'custom' cannot be cached: " in str(trainer.plan(data))
        losses.append(trainer.fit(data, epochs=2, verbose=0).history["val_loss"])
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_layer_called_below_and_above_trained_one_is_trained_on_images() -> None:
    images = keras.Input((32, 32, 3))
    shared = keras.layers.Conv2D(3, 3, padding="same", name="shared")
    shared.trainable = False
    x = shared(keras.layers.Conv2D(3, 1)(shared(images)))
    model = keras.Model(images, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(x)))
    partition = partition_model(model)
    assert partition.frozen is None and "'shared' cannot be cached: it is called more than once" in str(partition.limit)
