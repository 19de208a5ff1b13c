"""Conversion of colors to sRGB: ICC profiles, and the gamma of a PNG file."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

# Gray levels. Profiles of sRGB differ by rounding, by a level or two in the darkest colors; any other color space by
# more than ten levels somewhere.
_SAME = 3
# The gamma of sRGB, as PNG files state it, and the deviation that is only rounding.
_SRGB_GAMMA, _GAMMA_TOLERANCE = 0.45455, 0.02


@functools.lru_cache(maxsize=16)
def srgb_converter(profile: bytes, mode: str) -> Callable[[Image.Image], Image.Image] | None:
    """Return the function that converts images of `mode` ("L", "RGB" or "CMYK") to sRGB, of mode "L" or "RGB".

    None where it changes no color, so that a decoder may ignore the profile, or where the profile is invalid or of
    another mode, which viewers ignore too.
    """
    try:
        source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        # The optimized conversion of gray levels interpolates in a table that is too coarse for the darkest.
        flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
        transform = ImageCms.buildTransform(source, target, mode, "RGB", flags=flags)
        probe = _probe(mode)
        converted = np.asarray(transform.apply(probe), np.int16)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    if mode != "CMYK" and np.abs(converted - np.asarray(probe.convert("RGB"))).max() <= _SAME:
        return None
    if mode == "L":
        levels = converted[0, :, 0].tolist()
        return lambda image: image.point(levels)
    return transform.apply


def _probe(mode: str) -> Image.Image:
    """Return an image of all gray levels, or of colors from all parts of the color space, more of them dark."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.array([0, 4, 8, 16, 32, 64, 96, 128, 160, 192, 224, 255], np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
    return Image.fromarray(colors.reshape(len(levels), -1, 3)).convert(mode)


def changes_colors(profile: bytes, mode: str) -> bool:
    """Return whether an image of `mode` with this ICC profile has other colors in sRGB."""
    return bool(profile) and srgb_converter(profile, mode) is not None


def gamma_table(gamma: float | None) -> np.ndarray | None:
    """Return the sRGB levels uint8 (256,) of the levels of a PNG file with this gamma; None where they are equal.

    >>> gamma_table(1.0)[[0, 55, 255]].tolist()
    [0, 128, 255]
    >>> gamma_table(0.45455)
    """
    if not gamma or gamma < 0 or abs(gamma - _SRGB_GAMMA) <= _GAMMA_TOLERANCE:
        return None
    light = (np.arange(256) / 255) ** (1 / gamma)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(np.uint8)
