"""Decodes images with Pillow: the formats and variants that TensorFlow does not decode, or decodes wrongly."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

import numpy as np
from PIL import IcoImagePlugin, Image, ImageOps

from transferkit.errors import ImageError
from transferkit.images.unsupported import describe_contents

# Pixels converted at once: a large image with alpha or 16 bits would otherwise take many times its own memory.
_PIXELS_PER_STRIP = 4_000_000
# Limit in bytes for formats that store pixels as decimal text.
_MAX_TEXT_BYTES = 32 << 20
_HIGH_BIT_DEPTH_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
# EPS and other formats that run an interpreter are excluded, even if a file claims to be one.
_FORMATS = ["JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "AVIF", "ICO", "PPM"]


def decode_with_pillow(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    """Return the first frame as uint8 RGB (height, width, 3): upright, alpha on white, 16 bits scaled to 8.

    Raises:
        ImageError: when the image cannot be decoded or has more than `max_pixels` pixels.
    """
    if data[:2] in (b"P1", b"P2", b"P3") and len(data) > _MAX_TEXT_BYTES:
        raise ImageError(name, f"its {len(data):,} bytes of decimal text take too long to decode")
    try:
        # Pillow registers few formats until init(), and some builds lack some of them.
        Image.init()
        formats = [name for name in _FORMATS if name in Image.OPEN]
        with Image.open(io.BytesIO(data), formats=formats) as image:
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
        raise ImageError(name, f"it is truncated or corrupt ({str(error) or type(error).__name__})") from error


def decode_jpeg_or_png(data: bytes, name: str, scale_denominator: int) -> np.ndarray:
    """Return a plain JPEG or PNG as uint8 RGB, equal to TensorFlow's decoder at 1, 1/2, 1/4 or 1/8 of its size.

    Raises:
        ImageError: when the file is truncated or corrupt.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG", "PNG"]) as image:
            if scale_denominator > 1:
                width, height = (max(1, side // scale_denominator) for side in image.size)
                image.draft("RGB", (width, height))
            return np.array(image.convert("RGB"))
    except Exception as error:
        raise ImageError(name, "it is truncated or corrupt") from error


def to_rgb(image: Image.Image) -> np.ndarray:
    """Return uint8 (height, width, 3) of a loaded image of any mode: alpha on white, 16 bits scaled to 8."""
    width, height = image.size
    if image.mode == "RGB" and not image.has_transparency_data and width * height <= _PIXELS_PER_STRIP:
        return np.array(image)
    convert = _gray_converter(image) if image.mode in _HIGH_BIT_DEPTH_MODES else _convert_rgb
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _PIXELS_PER_STRIP // width)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        pixels[top:bottom] = convert(image.crop((0, top, width, bottom)))
    return pixels


def _check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    sizes = [image.size]
    if isinstance(image, IcoImagePlugin.IcoImageFile):
        # The size in the icon's directory may differ from that of the PNG inside.
        sizes.append(image.ico.getimage(image.size).size)
    for width, height in sizes:
        if width * height > max_pixels:
            raise ImageError(name, f"it claims {width} x {height} pixels, more than {max_pixels:,}")


def _convert_rgb(image: Image.Image) -> np.ndarray:
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.asarray(image.convert("RGB"))


def _gray_converter(image: Image.Image) -> Callable[[Image.Image], np.ndarray]:
    """Scale gray values of 16 bits, 32 bits or floats to 8 bits; Pillow would clip them."""
    largest = float(np.ravel(image.getextrema())[-1]) if image.mode in ("I", "F") else 65535.0
    if image.mode == "F":
        top = 1.0 if largest <= 1 else 255.0 if largest <= 255 else max(65535.0, largest)
    else:
        top = max(65535.0, largest)
    transparent = image.info.get("transparency")

    def convert(strip: Image.Image) -> np.ndarray:
        values = np.asarray(strip)
        gray = np.rint(np.clip(np.nan_to_num(values.astype(np.float32)) / top, 0, 1) * 255).astype(np.uint8)
        if isinstance(transparent, int):
            gray[values == transparent] = 255
        return gray[..., None]

    return convert
