"""Images: from a file, bytes or an array to an RGB array of a given size, the same everywhere in the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transferkit._utils.lazy import lazy_getattr

# The limits are read without NumPy and Pillow.
_PUBLIC = {
    "ImageSpec": "spec",
    "content_hashes": "loading",
    "image_dataset": "dataset",
    "load_image": "loading",
    "load_images": "loading",
    "read_image": "loading",
}

__all__ = ["ImageSpec", "content_hashes", "image_dataset", "load_image", "load_images", "read_image"]

__getattr__: Callable[[str], Any] = lazy_getattr(__name__, _PUBLIC)

if TYPE_CHECKING:
    from transferkit.images.dataset import image_dataset
    from transferkit.images.loading import content_hashes, load_image, load_images, read_image
    from transferkit.images.spec import ImageSpec
