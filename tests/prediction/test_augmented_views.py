"""Test-time augmentation."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import transferkit as tk
from transferkit.images import ImageSpec
from transferkit.prediction import Predictor


def left_model() -> keras.Model:
    """A model whose logit is the brightness of the left half of an image."""
    images = keras.Input((48, 48, 3))
    left = keras.layers.Cropping2D(((0, 0), (0, 24)))(images)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 127.5, -1)(left))
    dense = keras.layers.Dense(1, kernel_initializer="ones")
    return keras.Model(images, dense(x))


def make(**options: object) -> Predictor:
    return Predictor(left_model(), ["dark", "bright"], ImageSpec((48, 48)), activation="sigmoid", **options)


def test_views_are_averaged() -> None:
    flip = tk.AugmentationBlock(flip="horizontal")
    image = np.zeros((48, 48, 3), np.uint8)
    image[:, :24] = 255
    left, right = (make().predict(one).probability_array for one in (image, image[:, ::-1]))
    # Half of an even number of views are mirrored.
    for num_views in (2, 4, 6):
        predictor = make(augmentation=flip, num_views=num_views)
        np.testing.assert_allclose(predictor.predict(image).probability_array, (left + right) / 2, atol=1e-6)
    views = [left, left, right]
    predictor = make(augmentation=flip, num_views=3)
    np.testing.assert_allclose(predictor.predict(image).probability_array, np.mean(views, axis=0), atol=1e-6)
    # A view does not depend on the other images of the batch.
    batch = predictor.predict([np.zeros((48, 48, 3), np.uint8), image])
    np.testing.assert_allclose(batch[1].probability_array, np.mean(views, axis=0), atol=1e-6)


def test_views_change_the_fingerprint() -> None:
    flip = tk.AugmentationBlock(flip="horizontal")
    prints = {make().fingerprint(), make(augmentation=flip, num_views=2).fingerprint()}
    assert len(prints | {make(augmentation=flip, num_views=3).fingerprint()}) == 3


def test_views_invalid_arguments_raise() -> None:
    with pytest.raises(ValueError, match="`num_views` must be 1 without an `augmentation`, and more with one"):
        make(num_views=2)
    with pytest.raises(ValueError, match="Received: num_views=1 and one"):
        make(augmentation=tk.AugmentationBlock(flip="horizontal"))
    with pytest.raises(TypeError, match="`augmentation` must be an AugmentationBlock. Received: str"):
        make(augmentation="flip", num_views=2)
