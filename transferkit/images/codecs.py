"""Decoders that are not installed everywhere."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from PIL import Image, features


def heif_image_class() -> Any | None:
    """Return the Pillow image class of pillow-heif, or None where it is not installed.

    The class is called directly: registering it would change which files all of Pillow opens.
    """
    if importlib.util.find_spec("pillow_heif") is None:
        return None
    return importlib.import_module("pillow_heif").HeifImageFile


def avif_is_decodable() -> bool:
    """Return whether the installed Pillow decodes AVIF."""
    # Older versions of Pillow warn about a feature that they do not know.
    return "avif" in features.modules and bool(features.check("avif")) and "AVIF" in _formats()


def _formats() -> dict[str, Any]:
    Image.init()
    return Image.OPEN
