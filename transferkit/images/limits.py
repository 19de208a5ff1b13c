"""Limits on the memory and time that decoding an image takes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from transferkit.errors import ImageError

if TYPE_CHECKING:
    from transferkit.images.header import ImageHeader

# Half of Pillow's limit for decompression bombs: this many pixels are decoded, composited and resized within 1 GB.
DEFAULT_MAX_PIXELS = 89_478_485
_VARIABLE = "TRANSFERKIT_MAX_PIXELS"
_REMEDY = f"raise `max_pixels` or ${_VARIABLE} to decode it"
# A JPEG decoded at a reduced size takes the time of all its pixels, but not their memory.
_MAX_REDUCED = 4
# The coefficients of a progressive JPEG take twice the memory of its pixels, at any size.
_COEFFICIENT_BYTES = 2
# Pixels times scans of a progressive JPEG: a small file can demand thousands of passes over a large image.
_MAX_SCANNED_PIXELS, _MAX_SCANS = 2_000_000_000, 22


def max_pixels_allowed() -> int:
    """Return the largest number of pixels to decode: $TRANSFERKIT_MAX_PIXELS, by default 89,478,485.

    Raises:
        ValueError: when the variable is not a positive integer.
    """
    text = os.environ.get(_VARIABLE)
    if not text:
        return DEFAULT_MAX_PIXELS
    if not text.replace("_", "").isdecimal() or int(text) < 1:
        raise ValueError(
            f"${_VARIABLE} must be a number of pixels of at least 1. Received: {text!r}. Change or unset it."
        )
    return int(text)


def check_decodable(name: str, header: ImageHeader, scale_denominator: int, max_pixels: int) -> None:
    """Raise an ImageError when an image is not to be decoded at one over `scale_denominator` of its size."""
    pixels = header.width * header.height
    decoded = -(-header.width // scale_denominator) * -(-header.height // scale_denominator)
    # The decoder of WebP holds several copies of the canvas.
    limit = max_pixels // 2 if header.format == "webp" else max_pixels
    is_progressive = header.num_scans > 1
    coefficients = _COEFFICIENT_BYTES * pixels if is_progressive else 0
    if decoded > limit or pixels > _MAX_REDUCED * limit or decoded + coefficients > (1 + _COEFFICIENT_BYTES) * limit:
        raise ImageError(name, too_large_reason(header.width, header.height, limit))
    if header.num_scans * pixels > max(_MAX_SCANNED_PIXELS, _MAX_SCANS * max_pixels):
        raise ImageError(name, f"its {pixels:,} pixels are coded in {header.num_scans:,} scans, too many")
    if header.problem:
        raise ImageError(name, header.problem)


def too_large_reason(width: int, height: int, max_pixels: int) -> str:
    """Return the reason why an image of this size is refused."""
    return f"it claims {width} x {height} pixels, more than {max_pixels:,}; {_REMEDY}"


def is_limit_reason(reason: str) -> bool:
    """Return whether an image was refused for a limit that can be raised."""
    return reason.endswith(_REMEDY)
