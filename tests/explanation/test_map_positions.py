"""Positions of feature maps in the image."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from transferkit.explanation.attribution import to_heatmaps
from transferkit.explanation.map_positions import (
    Positions,
    centered_positions,
    interpolation_matrix,
    map_steps,
)


def model_of(*layers: keras.layers.Layer) -> keras.Model:
    inputs = keras.Input((64, 72, 3))
    x = inputs
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_map_steps_are_products_of_strides(padding):
    inner = model_of(
        keras.layers.Conv2D(2, 3, strides=2, padding=padding),
        keras.layers.ReLU(),
        keras.layers.AveragePooling2D((2, 3), padding=padding),
        keras.layers.ZeroPadding2D(1),
        keras.layers.DepthwiseConv2D(3, padding=padding),
    )
    model = model_of(keras.layers.Rescaling(2.0), inner)
    assert map_steps(model, inner.output) == (4, 6)


def test_map_steps_after_unknown_resizing_are_none():
    model = model_of(keras.layers.Resizing(16, 16), keras.layers.Conv2D(2, 3))
    assert map_steps(model, model.output) is None


def test_map_without_padding_is_in_the_middle():
    # Receptive fields of 7 pixels, 4 apart: the centers are 3, 7 ... 59, in the middle of 64 pixels.
    layers = keras.layers.Conv2D(2, 3, strides=2), keras.layers.Conv2D(2, 3, strides=2)
    model = model_of(*layers)
    count, steps = model.output_shape[1], map_steps(model, model.output)
    assert steps is not None
    assert centered_positions(64, count, steps[0]) == Positions(3.5, 4)


def test_interpolation_of_whole_image_equals_tensorflow():
    values = np.random.default_rng(0).uniform(size=(2, 3, 5)).astype(np.float32)
    rows, columns = (interpolation_matrix(centered_positions(*pair), *pair) for pair in ((12, 3), (11, 5)))
    expected = tf.image.resize(values[..., None], (12, 11))[..., 0]
    np.testing.assert_allclose(rows @ values @ columns.T, expected, atol=1e-5)


def test_to_heatmaps_places_the_maximum_by_steps():
    values = np.array([[[0.0, 0.0, 0.0], [0.0, 0.0, 4.0]]])
    heatmap = to_heatmaps(values, (31, 31), steps=(10.0, 5.0))[0]
    # The middle is pixel 15: rows 10 and 20, columns 10, 15 and 20.
    assert heatmap[20, 20] == 1 and heatmap[15, 20] == pytest.approx(0.5) and heatmap[20, 19] == pytest.approx(0.8)
    # The margin has the outer values.
    assert heatmap[30, 30] == 1 and heatmap[0, 0] == 0
