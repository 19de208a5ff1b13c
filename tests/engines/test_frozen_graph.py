"""TensorFlow graphs of constants."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.engines.conftest import MODELS, images_for, keras_outputs
from transferkit.engines import compile_engine
from transferkit.engines.frozen_graph import FrozenGraph, frozen_function
from transferkit.engines.verification import relative_error


@pytest.mark.parametrize(
    "name",
    [
        "MobileNetV2",
        pytest.param("ResNet50", marks=pytest.mark.slow),
        pytest.param("EfficientNetV2B0", marks=pytest.mark.slow),
    ],
)
def test_frozen_graph_in_bfloat16(name: str) -> None:
    model = MODELS[name]()
    images = images_for(model, 8)
    expected = keras_outputs(model, images)
    reduced = compile_engine(model, engine="frozen_graph", precision="bfloat16")
    assert reduced.precision == "bfloat16"
    assert 1e-5 < relative_error(reduced(images), expected) < 5e-2
    assert {layer.dtype_policy.name for layer in model._flatten_layers()} == {"float32"}
    np.testing.assert_array_equal(keras_outputs(model, images)[0], expected[0])


def test_frozen_function_keeps_weights_of_its_creation() -> None:
    model = MODELS["small"]()
    images = images_for(model, 4)
    expected = keras_outputs(model, images)
    engine = FrozenGraph(frozen_function(model, 4), 4)
    for variable in model.weights:
        variable.assign(variable * 0)
    assert relative_error(engine(images), expected) < 1e-4


def test_frozen_function_with_captured_tensors() -> None:
    images = keras.Input((8, 8, 3))
    normalization = keras.layers.Normalization(mean=[10.0, 20.0, 30.0], variance=[4.0, 9.0, 16.0])
    model = keras.Model(images, keras.layers.Conv2D(2, 3)(normalization(images)))
    batch = images_for(model, 4)
    assert not frozen_function(model, 4).captured_inputs
    assert relative_error(FrozenGraph(frozen_function(model, 4), 4)(batch), keras_outputs(model, batch)) < 1e-5


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_frozen_function_of_grouped_convolution(padding: str) -> None:
    images = keras.Input((8, 8, 6))
    layer = keras.layers.Conv2D(6, 3, groups=6, padding=padding, strides=2, name="depthwise")
    model = keras.Model(images, keras.layers.Conv2D(4, 1)(layer(images)))
    function = frozen_function(model, 2)
    operations = {operation.type for operation in function.graph.get_operations()}
    assert "DepthwiseConv2dNative" in operations and "convolution_op" not in vars(layer)
    batch = np.random.default_rng(0).normal(size=(2, 8, 8, 6)).astype("float32")
    np.testing.assert_allclose(FrozenGraph(function, 2)(batch)[0], model(batch), atol=1e-5)
