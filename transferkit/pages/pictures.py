"""Images and figures as text that is embedded in a page."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from transferkit._utils.parallel import ordered_map
from transferkit.errors import ImageError
from transferkit.images.loading import load_images
from transferkit.images.spec import ImageSpec

_CHUNK = 16


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
    spec = ImageSpec((side, side), resize="pad")
    chunks = (list(images[start : start + _CHUNK]) for start in range(0, len(images), _CHUNK))
    loaded = (image for chunk in ordered_map(lambda chunk: load_images(chunk, spec), chunks) for image in chunk)
    return [
        Picture("", text) if isinstance(image, ImageError) else array_picture(image, text)
        for image, text in zip(loaded, texts)
    ]


def _data_uri(format_name: str, contents: bytes) -> str:
    return f"data:image/{format_name};base64,{base64.b64encode(contents).decode()}"
