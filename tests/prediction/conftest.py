"""A predictor whose probabilities are known, and folders of images."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from transferkit.images import ImageSpec
from transferkit.prediction import Predictor


def brightness_model(slope: float = 1.0) -> keras.Model:
    """A model whose logit is `slope` times the sum of the channel means, scaled to [-1, 1]."""
    images = keras.Input((48, 48, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 127.5, -1)(images))
    dense = keras.layers.Dense(1)
    model = keras.Model(images, dense(x))
    dense.set_weights([np.full((3, 1), slope), np.zeros(1)])
    return model


@pytest.fixture
def predictor() -> Predictor:
    """A predictor of "bright" by the mean brightness of an image."""
    return Predictor(brightness_model(), ["dark", "bright"], ImageSpec((48, 48)), activation="sigmoid")


@pytest.fixture
def gray_files(tmp_path: Path) -> list[str]:
    """Files of 70 images of increasing brightness, the eleventh of which is damaged."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(70):
        Image.new("RGB", (12, 9), (3 * index,) * 3).save(folder / f"{index:03d}.png")
    (folder / "010.png").write_bytes(b"<html>no image</html>")
    return sorted(map(str, folder.iterdir()))
