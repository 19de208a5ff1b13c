"""Properties of image files by which a report can be sliced: size, brightness, source."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from transferkit._utils.parallel import ordered_map
from transferkit.errors import ImageError
from transferkit.images.files import read_bytes
from transferkit.images.header import read_header
from transferkit.images.loading import image_batch_lists, read_image
from transferkit.images.spec import ImageSpec

# The mean of so few pixels is that of the image within a few units of 255.
_BRIGHTNESS_SIZE = 64
# Luma of ITU-R BT.601, as in the gray images of JPEG.
_LUMA = np.array([0.299, 0.587, 0.114])


def shorter_sides(paths: Sequence[str]) -> list[int | None]:
    """Return the shorter side of each image in pixels; None for a file that cannot be read."""
    return list(ordered_map(_shorter_side, paths))


def brightness(paths: Sequence[str]) -> list[float | None]:
    """Return the mean gray value of each image, in [0, 255]; None for a file that cannot be read."""
    spec = ImageSpec((_BRIGHTNESS_SIZE, _BRIGHTNESS_SIZE), antialias=True)
    batches = image_batch_lists(paths, spec, batch_size=64)
    return [None if isinstance(image, ImageError) else _mean_gray(image) for batch in batches for image in batch]


def sources(paths: Sequence[str], class_names: Sequence[str]) -> list[str]:
    """Return the folder of each file, below the folder of all, without a last folder that has the name of a class.

    >>> sources(["photos/phone/cat/1.jpg", "photos/web/cat/2.jpg"], ["cat"])
    ['phone', 'web']
    """
    folders = [os.path.dirname(os.path.abspath(path)) for path in paths]
    folders = [os.path.dirname(folder) if os.path.basename(folder) in class_names else folder for folder in folders]
    try:
        common = os.path.commonpath(folders)
    except ValueError:
        # Windows: files on several drives.
        return folders
    return [os.path.relpath(folder, common) for folder in folders]


def image_property(name: str, paths: Sequence[str], class_names: Sequence[str]) -> list[Any]:
    """Return "size" (shorter side in pixels), "brightness" or "source" of each file."""
    functions: dict[str, Callable[[], list[Any]]] = {
        "size": lambda: shorter_sides(paths),
        "brightness": lambda: brightness(paths),
        "source": lambda: sources(paths, class_names),
    }
    return functions[name]()


def _shorter_side(path: str) -> int | None:
    try:
        header = read_header(read_bytes(path)[1])
        size = (header.height, header.width) if header.height and header.width else read_image(path).shape[:2]
    except ImageError:
        return None
    return min(size)


def _mean_gray(image: np.ndarray) -> float:
    return float(image.reshape(-1, 3).mean(axis=0) @ _LUMA)
