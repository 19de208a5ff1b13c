"""Images and figures as text that is embedded in a page."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from transferkit.errors import ImageError
from transferkit.images.loading import load_images
from transferkit.images.spec import ImageSpec

_CHUNK = 64


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image of a page.

    Attributes:
        uri: str, a data URI; "" for an image that cannot be read.
        caption: str, shown below the image.
    """

    uri: str
    caption: str = ""


def array_picture(image: np.ndarray, caption: str = "") -> Picture:
    """Return the picture of a uint8 array (height, width, 3), as JPEG."""
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "JPEG", quality=75)
    return Picture(_data_uri("jpeg", encoded.getvalue()), caption)


def plot_picture(plot: Callable[[io.BytesIO], Any], caption: str = "") -> Picture:
    """Return the picture of a function of `transferkit.plots`, which is called with the buffer for its PNG."""
    encoded = io.BytesIO()
    plot(encoded)
    return Picture(_data_uri("png", encoded.getvalue()), caption)


def thumbnails(images: Sequence[Any], captions: Iterable[str] | None = None, side: int = 96) -> list[Picture]:
    """Return one picture per image, each a path or an array, of at most `side` pixels."""
    texts = [""] * len(images) if captions is None else list(captions)
    return [picture for start in range(0, len(images), _CHUNK) for picture in _load(images, texts, start, side)]


def _load(images: Sequence[Any], captions: Sequence[str], start: int, side: int) -> Iterator[Picture]:
    chunk = images[start : start + _CHUNK]
    for image, caption in zip(load_images(list(chunk), ImageSpec((side, side), resize="pad")), captions[start:]):
        yield Picture("", caption) if isinstance(image, ImageError) else array_picture(image, caption)


def _data_uri(format_name: str, contents: bytes) -> str:
    return f"data:image/{format_name};base64,{base64.b64encode(contents).decode()}"
