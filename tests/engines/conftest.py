"""Models and images for the tests of engines."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from tests.training.conftest import small_network

MODELS: dict[str, Callable[[], keras.Model]] = {
    "small": lambda: small_network(48),
    "MobileNetV2": lambda: keras.applications.MobileNetV2((64, 64, 3), weights=None, include_top=False, alpha=0.35),
    "ResNet50": lambda: keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3)),
    "EfficientNetV2B0": lambda: keras.applications.EfficientNetV2B0(
        weights=None, include_top=False, input_shape=(64, 64, 3)
    ),
    "ConvNeXtTiny": lambda: keras.applications.ConvNeXtTiny(weights=None, include_top=False, input_shape=(64, 64, 3)),
}


def images_for(model: keras.Model, count: int = 5) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *model.input_shape[1:])).astype(np.uint8)


def keras_outputs(model: keras.Model, images: np.ndarray) -> tuple[np.ndarray, ...]:
    outputs = model.predict(images.astype("float32"), verbose=0)
    return tuple(outputs) if isinstance(outputs, list) else (outputs,)
