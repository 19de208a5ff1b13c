"""Checks of images in memory: shape, type and range of their values."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from transferkit.errors import ImageError
from transferkit.images.pillow_decoder import decode_image

# Values that are checked at once: few enough for the cache of a processor.
_CHUNK = 1 << 20
_SCALED = "Multiply images in [0, 1] by 255: the backbone applies its own scaling."


def is_pixels(source: Any) -> bool:
    """Return whether `source` is an array, a tensor or a Pillow image, rather than a file or its bytes."""
    if isinstance(source, (str, bytes, Image.Image)):
        # A string of NumPy is a str and an array.
        return isinstance(source, Image.Image)
    return hasattr(source, "__array__") and hasattr(source, "shape") and not hasattr(source, "columns")


def to_rgb_array(source: Any) -> np.ndarray:
    """Return a Pillow image or an array as an array (height, width, 3), RGB in [0, 255].

    Raises:
        ImageError: when the shape or the values are not those of an image.
    """
    if isinstance(source, Image.Image):
        return decode_image(source)
    image = _to_array(source)
    if image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        hint = shape_hint(image.shape)
        raise ImageError(
            "<array>", f"an array must have the shape (height, width, 3), not {image.shape}. {hint}".rstrip()
        )
    if problem := value_problem(image[None]):
        raise ImageError("<array>", f"its values must be RGB in [0, 255]. {problem}")
    return image


def check_batch(source: Any) -> np.ndarray:
    """Return images (n, height, width, 3), RGB in [0, 255], as a NumPy array.

    Raises:
        ImageError: when the shape or the values are not those of images.
    """
    images = _to_array(source)
    if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape[1:]:
        reason = f"an array of images must have the shape (n, height, width, 3), not {images.shape}."
        raise ImageError("<array>", f"{reason} {shape_hint(images.shape)}".rstrip())
    if problem := value_problem(images):
        raise ImageError("<array>", f"its values must be RGB in [0, 255]. {problem}")
    return images


def _to_array(source: Any) -> np.ndarray:
    try:
        return np.asarray(source)
    except Exception as error:
        # Each library has another reason why a tensor cannot leave its device.
        raise ImageError("<array>", f"it cannot be converted to a NumPy array ({error})") from error


def shape_hint(shape: tuple[int, ...]) -> str:
    """Return what to do with an array of images of this shape, whose last axis is not RGB; "" if that is unclear."""
    if len(shape) >= 3 and shape[-3] in (1, 3) and shape[-1] not in (1, 3, 4):
        return "Put the channels last (channels_last): np.moveaxis(images, -3, -1)."
    if len(shape) >= 3 and shape[-1] == 4:
        return "Remove the alpha channel: images[..., :3]."
    if len(shape) in (2, 3, 4) and (len(shape) == 2 or shape[-1] != 3):
        gray = "images" if shape[-1] == 1 else "images[..., None]"
        return f"Repeat the values of gray images: np.repeat({gray}, 3, axis=-1)."
    return ""


def value_problem(images: np.ndarray) -> str | None:
    """Return what is wrong with the values of images (n, ...), and what to do; None if they are RGB in [0, 255]."""
    kind = images.dtype.kind
    if kind not in "uif" or images.dtype.itemsize > 8:
        return f"Received: values of the type {images.dtype}. Convert them to uint8."
    highest, rows = 0.0, max(1, _CHUNK // max(1, images[:1].size))
    for start in range(0, len(images), rows):
        chunk = images[start : start + rows].reshape(len(images[start : start + rows]), -1)
        highs = chunk.max(axis=1)
        if images.dtype != np.uint8 and (problem := _problem_of_chunk(chunk, highs, start)):
            return problem
        highest = max(highest, float(highs.max()))
        if images.dtype == np.uint8 and highest > 1:
            return None
    # A single image of integers may be dark.
    if 0 < highest <= 1 and (kind == "f" or len(images) > 1):
        return f"Received: values from 0 to {highest:g} in all images. {_SCALED}"
    return None


def _problem_of_chunk(chunk: np.ndarray, highs: np.ndarray, start: int) -> str | None:
    lows = chunk.min(axis=1)
    # NaN fails every comparison.
    for row in np.flatnonzero(~((lows >= 0) & (highs <= 255))):
        where = f"in image {start + row}"
        if not np.isfinite(lows[row]) or not np.isfinite(highs[row]):
            return f"Received: NaN or infinite values {where}. Remove the image or replace these values."
        remedy = "Undo the scaling; the backbone applies its own." if lows[row] < 0 else "Scale them to 8 bits."
        return f"Received: values from {lows[row]:g} to {highs[row]:g} {where}. {remedy}"
    for row in np.flatnonzero((highs > 0) & (highs <= 1)) if chunk.dtype.kind == "f" else ():
        # Zeros and ones alone may be an image of [0, 255] that is almost black.
        if (chunk[row] % 1).any():
            return f"Received: values from {lows[row]:g} to {highs[row]:g} in image {start + row}. {_SCALED}"
    return None
