"""The graph of a functional Keras model."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.training.conftest import small_classifier, small_network
from transferkit.modeling.keras_graph import (
    all_layers,
    estimate_macs,
    find_backbone,
    flatten,
    graph_nodes,
    is_functional,
)


def test_flatten_keeps_layers_and_weights() -> None:
    model = small_classifier()
    flat = flatten(model)
    assert not any(isinstance(layer, keras.Model) for layer in flat.layers)
    assert {id(weight) for weight in flat.weights} == {id(weight) for weight in model.weights}


def test_flatten_nested_sequential_returns_same_outputs() -> None:
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.ReLU()])
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(inner(images))))
    flat = flatten(model)
    assert not any(isinstance(layer, keras.Model) for layer in flat.layers)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(flat(images), model(images), atol=1e-6)


def test_graph_nodes_are_in_topological_order() -> None:
    model = small_classifier()
    known = {id(tensor) for tensor in model.inputs}
    nodes = graph_nodes(model)
    for node in nodes:
        assert all(id(tensor) in known for tensor in node.inputs)
        known.update(id(tensor) for tensor in node.outputs)
    assert [node.layer for node in nodes] == model.layers[1:]
    assert all(id(tensor) in known for tensor in model.outputs)


def test_all_layers_includes_nested_models() -> None:
    model = small_classifier()
    names = [layer.name for layer in all_layers(model)]
    start = names.index("small")
    assert names[start + 1 : start + 14] == [layer.name for layer in model.get_layer("small").layers]
    assert names[-1] == "logits"


def test_is_functional() -> None:
    class Custom(keras.Model):
        pass

    assert is_functional(small_network())
    assert not is_functional(Custom()) and not is_functional(keras.layers.Dense(2))


def test_find_backbone_is_largest_nested_model() -> None:
    model = small_classifier()
    assert find_backbone(model) is model.get_layer("small")
    assert find_backbone(small_network()).name == "small"


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (keras.layers.Conv2D(8, 3, padding="same"), (10, 12, 4), 10 * 12 * 3 * 3 * 4 * 8),
        (keras.layers.Dense(5), (7,), 7 * 5),
        (keras.layers.ReLU(), (10, 10, 4), 0),
    ],
)
def test_estimate_macs(layer: keras.layers.Layer, shape: tuple[int, ...], macs: int) -> None:
    images = keras.Input(shape)
    (node,) = graph_nodes(keras.Model(images, layer(images)))
    assert estimate_macs(node) == macs
