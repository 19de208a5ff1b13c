"""Tiny classifiers whose maps can be computed by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk

SIZE = 4
# Weights of the channels in the logits of three classes.
KERNEL = np.array([[1.0, 0.0, -1.0], [0.0, 2.0, 1.0], [0.5, -1.0, 0.0]], np.float32)
NAMES = ("ant", "bee", "cat")


def make_backbone(pooling: bool = False) -> keras.Model:
    """Return a model whose feature map is the mean of each color in blocks of 2 x 2 pixels."""
    images = keras.Input((SIZE, SIZE, 3))
    conv = keras.layers.Conv2D(3, 2, strides=2, use_bias=False, name="conv")
    features = conv(images)
    if pooling:
        features = keras.layers.GlobalAveragePooling2D(name="inner_pooling")(features)
    model = keras.Model(images, features, name="tiny")
    conv.kernel.assign(np.tile(np.eye(3, dtype=np.float32) / 4, (2, 2, 1, 1)))
    return model


def make_model(num_classes: int = 3, *, pooling: bool = False, **options: Any) -> keras.Model:
    """Return the classifier with logits = mean of the map @ the first columns of `KERNEL`."""
    backbone = tk.BackboneFactory.create(make_backbone(pooling))
    head = tk.ClassifierHead(num_classes, dropout=0, **options)
    model = tk.build_classifier(backbone, head, augmentation=tk.AugmentationBlock(rotation=0.2))
    model.get_layer("logits").kernel.assign(KERNEL[:, : head.units])
    return model


def make_predictor(model: keras.Model, names: tuple[str, ...] = NAMES, activation: str | None = "softmax") -> Any:
    """Return a predictor of images of the size of `model`."""
    return tk.Predictor(model, names, tk.ImageSpec(model.input_shape[1:3]), activation=activation)


@pytest.fixture(scope="session")
def predictor() -> tk.Predictor:
    return make_predictor(make_model())


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    """Blocks of 2 x 2 pixels: red top left, green top right, blue bottom left, black bottom right."""
    blocks = np.array([[[200, 0, 0], [0, 100, 0]], [[0, 0, 40], [0, 0, 0]]], np.uint8)
    return blocks.repeat(2, axis=0).repeat(2, axis=1)
