"""Frozen and trainable layers of any model, and the dropout in them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from tests.training.conftest import small_network
from transferkit.modeling.dropout import disable_frozen_dropout, original_dropout_rates
from transferkit.modeling.freezing import batch_norm_layers, find_blocks, freeze, unfreeze


def first_trainable(model: keras.Model) -> int:
    flags = [layer.trainable for layer in model.layers if not isinstance(layer, keras.layers.BatchNormalization)]
    assert flags == sorted(flags)
    return next(index for index, layer in enumerate(model.layers) if layer.trainable)


def rates(model: keras.Model) -> list[float]:
    return [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]


def test_freeze_stops_training_and_dropout() -> None:
    model = small_network()
    freeze(model)
    assert not model.trainable_variables and rates(model) == [0.0] * 3
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(model(images, training=True), model(images, training=False))


# The layers are the input and three blocks of convolution, batch normalization, activation and dropout.
@pytest.mark.parametrize(
    ("choice", "first"),
    [
        ({}, 0),
        ({"from_layer": 5}, 5),
        ({"from_layer": -4}, 9),
        ({"from_layer": "block1_conv"}, 5),
        ({"fraction": 0.3}, 9),
        ({"fraction": 1.0}, 0),
        ({"blocks": 2}, 5),
    ],
)
def test_unfreeze_first_trainable_layer(choice: dict[str, Any], first: int) -> None:
    model = small_network()
    freeze(model)
    unfreeze(model, **choice)
    assert first_trainable(model) == first


def test_unfreeze_batch_norm_only_on_request() -> None:
    model = small_network()
    unfreeze(model, 5)
    assert not any(layer.trainable for layer in batch_norm_layers(model))
    unfreeze(model, 5, batch_norm=True)
    assert [layer.trainable for layer in batch_norm_layers(model)] == [False, True, True]


def test_unfreeze_restores_dropout_above_boundary() -> None:
    model = small_network()
    freeze(model)
    unfreeze(model, "block1_conv")
    assert rates(model) == [0.0, 0.1, 0.1]
    unfreeze(model)
    assert rates(model) == [0.1] * 3


def test_unfreeze_dropout_of_nested_model() -> None:
    images = keras.Input((32, 32, 3))
    inner = small_network()
    model = keras.Model(images, inner(images))
    freeze(model)
    assert rates(inner) == [0.0] * 3
    unfreeze(model)
    assert rates(inner) == [0.1] * 3


def test_disable_frozen_dropout_twice_keeps_original_rate() -> None:
    model = small_network()
    model.trainable = False
    for _ in range(2):
        disable_frozen_dropout(model)
    model.trainable = True
    disable_frozen_dropout(model)
    assert rates(model) == [0.1] * 3


def test_original_dropout_rates_inside_context_only() -> None:
    model = small_network()
    freeze(model)
    with pytest.raises(KeyError), original_dropout_rates(model):
        assert rates(model) == [0.1] * 3
        raise KeyError
    assert rates(model) == [0.0] * 3


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"from_layer": 2, "blocks": 1}, "At most one of `from_layer`, `fraction` and `blocks` must be given."),
        (
            {"from_layer": "block1_con"},
            "`from_layer` must be the name of a layer of 'small'. Received: 'block1_con'. Did you mean 'block1_conv'",
        ),
        ({"from_layer": 13}, "`from_layer` must be the index of a layer of 'small', from 0 to 12. Received: 13."),
        ({"from_layer": True}, "`from_layer` must be the index of a layer of 'small', from 0 to 12. Received: True."),
        ({"from_layer": "x", "argument": "unfreeze_from"}, "`unfreeze_from` must be the name of a layer of 'small'."),
        ({"fraction": 1.5}, "`fraction` must be in [0, 1]. Received: 1.5."),
        ({"blocks": 4}, "`blocks` must be at most the number of blocks of 'small', 3. Received: 4."),
        ({"blocks": 0}, "`blocks` must be an integer of at least 1. Received: 0."),
    ],
)
def test_unfreeze_invalid_choice_raises(choice: dict[str, Any], text: str) -> None:
    model = small_network()
    freeze(model)
    with pytest.raises(ValueError) as error:
        unfreeze(model, **choice)
    assert text in str(error.value)
    assert not model.trainable_variables


def test_find_blocks_of_applications() -> None:
    assert find_blocks(small_network()) == {"block0": 1, "block1": 5, "block2": 9}
    mobilenet = keras.applications.MobileNetV2((32, 32, 3), weights=None, include_top=False, alpha=0.35)
    blocks = [name for name in find_blocks(mobilenet) if name.startswith("block_")]
    assert blocks == [f"block_{number}" for number in range(1, 17)]
