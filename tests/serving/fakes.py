"""A predictor without a model: the probability of "bright" is the mean of the pixels."""

from __future__ import annotations

import dataclasses
import io
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from tests.waiting import TIMEOUT
from transferkit.errors import ImageError
from transferkit.prediction.prediction import Prediction

SIZE = (6, 8)


@dataclasses.dataclass
class FakeExplanation:
    """Has what the server uses of an explanation."""

    error: str | None = None
    class_name: str | None = None
    probability: float | None = None
    method: str | None = None

    def overlay(self) -> np.ndarray:
        return np.zeros((*SIZE, 3), np.uint8)


class FakePredictor:
    """Has what the server uses; records the batches, and waits for `gate` before each."""

    def __init__(self, class_names: tuple[str, ...] = ("dark", "bright"), batch_size: int = 8) -> None:
        self.class_names, self.batch_size = class_names, batch_size
        self.image_spec = SimpleNamespace(image_size=SIZE)
        self.batches: list[int] = []
        self.sources: list[Any] = []
        self.gate = threading.Event()
        self.gate.set()
        self.explains = True

    def warm_up(self) -> None:
        pass

    def predict(self, images: list[Any]) -> list[Prediction]:
        self.batches.append(len(images))
        self.sources += images
        assert self.gate.wait(TIMEOUT)
        return [self._predict(image) for image in images]

    def embed(self, images: list[Any]) -> np.ndarray:
        return np.stack([np.array([self._brightness(image), 1.0], np.float32) for image in images])

    def explain(self, images: list[bytes], class_name: str | None = None) -> list[FakeExplanation]:
        if not self.explains:
            raise ValueError("`method` must fit the model. Received: a model without a feature map.")
        explanations = []
        for image in images:
            prediction = self._predict(image)
            label = class_name or prediction.label
            probability = None if prediction.error else prediction.probabilities[label]
            explanations.append(FakeExplanation(prediction.error, label, probability, "grad_cam"))
        return explanations

    def _predict(self, image: Any) -> Prediction:
        try:
            bright = self._brightness(image)
        except ImageError as error:
            return Prediction(None, error.reason, self.class_names, None)
        rest = np.zeros(len(self.class_names) - 2)
        return Prediction(None, None, self.class_names, np.array([1 - bright, bright, *rest], np.float32))

    def _brightness(self, image: Any) -> float:
        if isinstance(image, np.ndarray):
            if (image == 77).all():
                raise RuntimeError("the model failed")
            return float(image.mean()) / 255
        if isinstance(image, str):
            # Only the training images of the server are paths.
            with open(image, "rb") as file:
                image = file.read()
        try:
            with Image.open(io.BytesIO(image)) as opened:
                return float(np.asarray(opened.convert("RGB")).mean()) / 255
        except Exception as error:
            raise ImageError("<bytes>", "it is truncated or corrupt") from error


def png(level: int, size: tuple[int, int] = (8, 6)) -> bytes:
    """The PNG of an image of one gray level."""
    encoded = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(encoded, "PNG")
    return encoded.getvalue()
