"""Models of the user as backbones: adapted, or refused with what to do."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from transferkit.backbones import BackboneFactory


def network(shape: Any = (32, 32, 3), form: Any = None, **options: Any) -> keras.Model:
    images = keras.Input(shape)
    low = keras.layers.Conv2D(4, 3, **options)(images)
    high = keras.layers.Conv2D(8, 3, **options)(low)
    return keras.Model(images, high if form is None else form(low, high), name="own")


@pytest.mark.parametrize("form", [lambda _, high: [high], lambda _, high: {"map": high}], ids=["list", "dict"])
def test_backbone_of_single_output_in_structure(form: Any) -> None:
    backbone = BackboneFactory.create(network(form=form))
    assert backbone.model.output_shape == (None, 28, 28, 8)


def test_backbone_of_several_outputs_raises() -> None:
    with pytest.raises(ValueError, match="must have one output. Received: 2 outputs.*keras.Model"):
        BackboneFactory.create(network(form=lambda low, high: [low, high]))


def test_backbone_of_scalars_raises() -> None:
    with pytest.raises(ValueError, match=r"must return vectors.*Received: \(None,\)"):
        BackboneFactory.create(network(form=lambda _, high: keras.ops.mean(high, axis=(1, 2, 3))))


def test_backbone_without_fixed_size_needs_input_shape() -> None:
    model = network((None, None, 3))
    with pytest.raises(ValueError, match="`input_shape` must be given for a model without a fixed input size"):
        BackboneFactory.create(model)
    backbone = BackboneFactory.create(model, input_shape=(32, 48, 3))
    assert backbone.input_shape == (32, 48, 3) and [layer.name for layer in backbone.model.layers[1:]] == [
        layer.name for layer in model.layers[1:]
    ]
    images = np.random.default_rng(0).uniform(size=(2, 32, 48, 3)).astype("float32")
    np.testing.assert_array_equal(backbone.model(images), model(images))
    with pytest.raises(ValueError, match="`input_shape` must be that of the model"):
        BackboneFactory.create(network((None, 32, 3)), input_shape=(32, 48, 3))


def test_backbone_with_channels_first_raises() -> None:
    with pytest.raises(ValueError, match=r"Received: \(3, 32, 32\). Build it with data_format='channels_last'"):
        BackboneFactory.create(network((3, 32, 32), data_format="channels_first"))


def test_keras_configured_for_channels_first_raises() -> None:
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="image_data_format must be 'channels_last'"):
            BackboneFactory.create("MobileNetV2", input_shape=(32, 32, 3), weights=None)
    finally:
        keras.config.set_image_data_format("channels_last")


def test_backbone_that_is_not_built_needs_input_shape() -> None:
    with pytest.raises(ValueError, match="`input_shape` must be given for a model that is not built yet"):
        BackboneFactory.create(keras.Sequential([keras.layers.Conv2D(4, 3)]))
