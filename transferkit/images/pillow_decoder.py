"""Decodes images with Pillow: the formats and variants that TensorFlow does not decode, or decodes wrongly."""

from __future__ import annotations

import contextlib
import io
import struct

import numpy as np
from PIL import IcoImagePlugin, Image, ImageOps

from transferkit.errors import ImageError
from transferkit.images.codecs import heif_image_class
from transferkit.images.formats import sniff_format
from transferkit.images.limits import too_large_reason
from transferkit.images.png import without_texts
from transferkit.images.rgb import to_rgb
from transferkit.images.unsupported import describe_contents

# Limit in bytes for formats that store pixels as decimal text, which takes a second per 4 MB.
_MAX_TEXT_BYTES = 12 << 20
# EPS and other formats that run an interpreter are excluded, even if a file claims to be one.
_FORMATS = ["JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "AVIF", "ICO", "PPM"]


def decode_with_pillow(data: bytes, name: str, max_pixels: int, scale_denominator: int = 1) -> np.ndarray:
    """Return the first frame as uint8 RGB (height, width, 3): upright, in sRGB, alpha on white, scaled to 8 bits.

    A JPEG file is decoded at 1, 1/2, 1/4 or 1/8 of its size.

    Raises:
        ImageError: when the image cannot be decoded or has more than `max_pixels` pixels.
    """
    if data[:2] in (b"P1", b"P2", b"P3") and len(data) > _MAX_TEXT_BYTES:
        raise ImageError(name, f"its {len(data):,} bytes of decimal text take too long to decode; convert it to PNG")
    try:
        with _open(without_texts(data) if data[:4] == b"\x89PNG" else data) as image:
            _reduce(image, scale_denominator)
            _check_size(image, name, max_pixels)
            image.load()
            # Invalid metadata does not make an image unreadable.
            with contextlib.suppress(Exception):
                ImageOps.exif_transpose(image, in_place=True)
            return to_rgb(image)
    except ImageError:
        raise
    except Image.UnidentifiedImageError as error:
        raise ImageError(name, describe_contents(data)) from error
    except Image.DecompressionBombError as error:
        raise ImageError(name, f"it claims more than {max_pixels:,} pixels") from error
    except Exception as error:
        # A decoder may fail in any way on hostile bytes; the file is unreadable in every case.
        kind = "a HEIC (HEIF) file that is truncated" if sniff_format(data) == "heif" else "truncated"
        raise ImageError(name, f"it is {kind} or corrupt ({str(error) or type(error).__name__})") from error


def check_size(data: bytes, name: str, max_pixels: int) -> None:
    """Raise an ImageError when a file claims more than `max_pixels` pixels; a file that cannot be opened passes."""
    try:
        with _open(data) as image:
            _check_size(image, name, max_pixels)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(name, f"it claims more than {max_pixels:,} pixels") from error
    except Exception:
        # The decoder has a more exact reason.
        return


def decode_image(image: Image.Image) -> np.ndarray:
    """Return what `decode_with_pillow` returns for the file of an open image, which is not changed.

    Raises:
        ImageError: when the image cannot be decoded.
    """
    try:
        image.load()
        return to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:
        name = getattr(image, "filename", "") or "<image>"
        raise ImageError(name, f"it is truncated or corrupt ({str(error) or type(error).__name__})") from error


def decode_jpeg_or_png(data: bytes, name: str, scale_denominator: int) -> np.ndarray:
    """Return a plain JPEG or PNG as uint8 RGB, equal to TensorFlow's decoder at 1, 1/2, 1/4 or 1/8 of its size.

    Raises:
        ImageError: when the file is truncated or corrupt.
    """
    try:
        with _open(without_texts(data) if data[:4] == b"\x89PNG" else data) as image:
            _reduce(image, scale_denominator)
            return np.array(image.convert("RGB"))
    except Exception as error:
        raise ImageError(name, "it is truncated or corrupt") from error


def _open(data: bytes) -> Image.Image:
    """Open an image like `Image.open`, whose limit of pixels does not know that a JPEG file can be reduced."""
    if sniff_format(data) == "heif" and (heif := heif_image_class()) is not None:
        return heif(io.BytesIO(data))
    # Pillow registers few formats until init(), and some builds lack some of them.
    Image.init()
    for name in _FORMATS:
        factory, accepts = Image.OPEN.get(name, (None, None))
        # An accepting function returns text where the build lacks the decoder.
        if factory is not None and (accepts is None or accepts(data[:16]) is True):
            with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):
                return factory(io.BytesIO(data), "")
    raise Image.UnidentifiedImageError("no format matches")


def _reduce(image: Image.Image, scale_denominator: int) -> None:
    if scale_denominator > 1:
        width, height = (max(1, side // scale_denominator) for side in image.size)
        image.draft("RGB", (width, height))


def _check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    sizes = [image.size]
    if isinstance(image, IcoImagePlugin.IcoImageFile):
        # The size in the icon's directory may differ from that of the PNG inside.
        sizes.append(image.ico.getimage(image.size).size)
    for width, height in sizes:
        if width * height > max_pixels:
            raise ImageError(name, too_large_reason(width, height, max_pixels))
