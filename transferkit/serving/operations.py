"""What the server runs on a batch: predictions, features and explanations, with one result or error per image."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from transferkit.errors import ImageError
from transferkit.images.header import read_header
from transferkit.images.limits import check_decodable
from transferkit.images.pillow_decoder import check_size
from transferkit.serving.errors import not_supported, unreadable_image

# Formats whose header is read by Pillow alone.
_SIZE_BY_PILLOW = ("bmp", "tiff", "avif", "heif", "ico", "ppm")
# A predictor of a runtime that cannot compute gradients, or a model without a feature map.
_UNSUPPORTED = (ValueError, AttributeError, NotImplementedError, ImportError)


@dataclasses.dataclass(frozen=True)
class ExplainItem:
    """An image, and the class to explain or None for the predicted one."""

    image: bytes
    class_name: str | None


@dataclasses.dataclass(frozen=True)
class HeatMap:
    """An explanation: the class and its probability or the number, the method, and the heat map as PNG."""

    explained: dict[str, Any]
    method: str
    png: bytes


def refusal(image: bytes, max_pixels: int) -> str | None:
    """Return why an encoded image must not be decoded, or None; no pixel is decoded."""
    header = read_header(image)
    try:
        check_decodable("<upload>", header, 1, max_pixels)
        if header.format in _SIZE_BY_PILLOW:
            check_size(image, "<upload>", max_pixels)
    except ImageError as error:
        # What follows is a remedy for the process that decodes, not for a client.
        return error.reason.partition(";")[0]
    return None


def predict_images(predictor: Any, max_pixels: int, items: list[Any]) -> list[Any]:
    """Return a `Prediction` or an error for each encoded image or array."""

    def predict(images: list[Any]) -> list[Any]:
        predictions = predictor.predict(images)
        return [unreadable_image(one.error) if one.error is not None else one for one in predictions]

    return _on_valid(items, max_pixels, lambda item: item, predict)


def embed_images(predictor: Any, max_pixels: int, items: list[Any]) -> list[Any]:
    """Return a vector of features or an error for each encoded image."""

    def embed(images: list[Any]) -> list[Any]:
        try:
            return list(predictor.embed(images))
        except ImageError as error:
            if len(images) == 1:
                return [unreadable_image(error.reason)]
        except _UNSUPPORTED as error:
            return [not_supported(str(error))] * len(images)
        return [result for image in images for result in embed([image])]

    return _on_valid(items, max_pixels, lambda item: item, embed)


def explain_images(predictor: Any, max_pixels: int, items: list[Any]) -> list[Any]:
    """Return a `HeatMap` or an error for each `ExplainItem`."""

    def explain(valid: list[Any]) -> list[Any]:
        results: list[Any] = [None] * len(valid)
        for class_name in {item.class_name for item in valid}:
            indices = [index for index, item in enumerate(valid) if item.class_name == class_name]
            options = {} if class_name is None else {"class_name": class_name}
            try:
                explanations = predictor.explain([valid[index].image for index in indices], **options)
            except _UNSUPPORTED as error:
                explanations = [not_supported(str(error))] * len(indices)
            for index, explanation in zip(indices, explanations):
                results[index] = explanation if isinstance(explanation, Exception) else _heat_map(explanation)
        return results

    return _on_valid(items, max_pixels, lambda item: item.image, explain)


def _heat_map(explanation: Any) -> Any:
    if explanation.error is not None:
        return unreadable_image(explanation.error)
    encoded = io.BytesIO()
    Image.fromarray(explanation.overlay()).save(encoded, "PNG")
    explained: dict[str, Any] = {"label": explanation.class_name, "probability": explanation.probability}
    if explanation.class_name is None:
        explained = {"value": explanation.value}
    return HeatMap(explained, str(explanation.method), encoded.getvalue())


def _on_valid(
    items: list[Any], max_pixels: int, image_of: Callable[[Any], Any], run: Callable[[list[Any]], list[Any]]
) -> list[Any]:
    """Return the results of `run` for the images within the limit, and errors for the others, in order."""
    images = [image_of(item) for item in items]
    reasons = [None if isinstance(image, np.ndarray) else refusal(image, max_pixels) for image in images]
    valid = [item for item, reason in zip(items, reasons) if reason is None]
    results = iter(run(valid) if valid else [])
    return [next(results) if reason is None else unreadable_image(reason) for reason in reasons]
