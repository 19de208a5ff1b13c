"""A small classifier with predictions that differ from image to image, and its images."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from transferkit.calibration import Calibration

SIZE = 16
NAMES = ("ant", "big bee", "cat")


def make_predictor(num_classes: int = 3, *, multi_label: bool = False, **options: Any) -> tk.Predictor:
    """Return a predictor of images of 16 x 16 pixels, with random weights and an augmentation."""
    keras.utils.set_random_seed(0)
    images = keras.Input((SIZE, SIZE, 3))
    features = keras.layers.Conv2D(64, 3, strides=2, activation="relu")(images)
    backbone = tk.BackboneFactory.create(keras.Model(images, keras.layers.BatchNormalization()(features)))
    head = tk.ClassifierHead(num_classes, multi_label=multi_label)
    model = tk.build_classifier(backbone, head, augmentation=tk.AugmentationBlock(rotation=0.2, flip="horizontal"))
    logits = model.get_layer("logits")
    logits.kernel.assign(np.random.default_rng(0).normal(0, 0.02, logits.kernel.shape))
    names = NAMES if num_classes == 3 else [f"class {index}" for index in range(num_classes)]
    activation = "sigmoid" if head.units == 1 or multi_label else "softmax"
    return tk.Predictor(model, names, tk.ImageSpec((SIZE, SIZE)), activation=activation, **options)


def make_images(count: int) -> np.ndarray:
    """Return images of one color each, with noise."""
    generator = np.random.default_rng(1)
    colors = generator.uniform(0, 255, (count, 1, 1, 3))
    return np.clip(colors + generator.normal(0, 20, (count, SIZE, SIZE, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def predictor() -> tk.Predictor:
    return make_predictor(calibration=Calibration(temperature=1.7, coverage=0.9, set_threshold=0.2, num_images=50))


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return make_images(30)
