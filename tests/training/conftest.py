"""A small network with the parts that cause problems in large ones: batch normalization, dropout, a nested model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from transferkit.data import Data


def small_network(size: int = 32) -> keras.Model:
    keras.utils.set_random_seed(1)
    images = x = keras.Input((size, size, 3))
    for number, channels in enumerate((8, 12, 16)):
        x = keras.layers.Conv2D(channels, 3, strides=2, padding="same", name=f"block{number}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block{number}_bn")(x)
        x = keras.layers.ReLU(name=f"block{number}_relu")(x)
        x = keras.layers.Dropout(0.1, name=f"block{number}_drop")(x)
    return keras.Model(images, x, name="small")


def small_classifier(augmentation: Any = None, *, num_classes: int = 2, **head: Any) -> keras.Model:
    backbone = tk.BackboneFactory.create(small_network(), preprocessing="tf")
    return tk.build_classifier(backbone, tk.ClassifierHead(num_classes, **head), augmentation=augmentation)


def multi_label_data() -> Data:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, 32, 32, 3), np.uint8)
    labels = np.stack([images.mean(axis=(1, 2, 3)) > 127.5, np.arange(40) % 2 == 0], axis=1).astype("float32")
    return tk.DatasetBuilder((images, labels), image_size=32, validation=0.25, batch_size=8).build()


@pytest.fixture(scope="session")
def data(synthetic: Path) -> Data:
    return tk.DatasetBuilder(synthetic, test=0.5, image_size=(32, 32), batch_size=16).build()
