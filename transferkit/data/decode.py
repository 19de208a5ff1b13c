"""From the bytes of a file to RGB pixels: the one function for training, evaluation, prediction and export."""

from __future__ import annotations

import io
import os
import stat
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from transferkit.data.header import Header, read_header
from transferkit.errors import ImageError

__all__ = ["MAX_PIXELS", "decode", "read_bytes", "read_image"]

# Half the number at which Pillow speaks of a decompression bomb: as many pixels as can be decoded, composited and
# resized within a gigabyte.
MAX_PIXELS = 89_478_485
_MAX_BYTES = 1 << 30
# What Pillow may try. EPS and other formats that run an interpreter are left out, whatever a file says it is.
_FORMATS = ["JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "AVIF", "ICO", "PPM"]


def read_image(path_or_bytes: Any, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read an image as a person sees it: orientation obeyed, alpha composited on white, 16 bits scaled to 8.

    JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF, ICO and PPM are read by their contents, whatever their extension; of
    animations the first frame.

    Args:
        path_or_bytes: the path of a file, or its contents.
        max_pixels: largest number of pixels, of at least 1; larger images are refused before they are decoded.

    Returns:
        uint8 (height, width, 3), RGB.

    Raises:
        ImageError: (a ValueError) when it cannot be read; the message names the file and the reason.

    Example:

    >>> read_image(b"GIF89a")
    Traceback (most recent call last):
    ...
    transferkit.errors.ImageError: Cannot read image '<bytes>': it is truncated or corrupt (Truncated File Read)
    """
    name, data = read_bytes(path_or_bytes)
    return decode(data, name, max_pixels=max_pixels)


def read_bytes(path_or_bytes: Any) -> tuple[str, bytes]:
    """Return (name, contents) of a path or bytes; only regular files are opened, so that nothing can hang.

    Raises:
        ImageError: when there is no such file, or it is empty, too large or not a file at all.
    """
    if isinstance(path_or_bytes, (bytes, bytearray, memoryview)):
        data = bytes(path_or_bytes)
        return "<bytes>", _not_empty("<bytes>", data)
    name = os.fsdecode(path_or_bytes)
    try:
        # Opened without blocking, and looked at afterwards: between a look and an opening a file can change.
        handle = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        raise ImageError(name, _why_unopened(name, error)) from error
    with open(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(name, "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is not a regular file")
        if status.st_size > _MAX_BYTES:
            raise ImageError(name, f"it has {status.st_size:,} bytes, more than {_MAX_BYTES:,}")
        try:
            return name, _not_empty(name, file.read())
        except OSError as error:
            raise ImageError(name, f"it cannot be read ({error.strerror})") from error


def decode(data: bytes, name: str = "<bytes>", *, max_pixels: int = MAX_PIXELS, wanted: int = 0) -> np.ndarray:
    """Decode the contents of a file; see `read_image`.

    Args:
        data: contents of the file.
        name: what errors call it.
        max_pixels: largest number of pixels.
        wanted: shorter side in pixels that is enough: a JPEG may then be decoded at 1/2, 1/4 or 1/8 of its size, as
            long as that side stays at least twice as long; 0 for the full size.
    """
    header = read_header(data)
    if header.width * header.height > max_pixels:
        raise ImageError(name, _too_large(header.width, header.height, max_pixels))
    if not header.complete:
        raise ImageError(name, "it is truncated")
    if header.plain:
        return _by_tensorflow(data, name, header, _reduction(header, wanted))
    return _by_pillow(data, name, max_pixels)


def _by_tensorflow(data: bytes, name: str, header: Header, ratio: int) -> np.ndarray:
    try:
        if header.format == "png":
            return tf.raw_ops.DecodePng(contents=data, channels=3).numpy()
        # The accurate transform gives the very pixels that Pillow gives.
        return tf.raw_ops.DecodeJpeg(contents=data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE").numpy()
    except tf.errors.InvalidArgumentError as error:
        raise ImageError(name, "it is truncated or corrupt") from error


def _by_pillow(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageError(name, _too_large(width, height, max_pixels))
            image.load()
            return _to_rgb(_upright(image))
    except ImageError:
        raise
    except Image.UnidentifiedImageError as error:
        kind = _looks_like(data)
        raise ImageError(name, f"it is {kind}" if kind else "it is not an image of a known format") from error
    except Exception as error:
        # A decoder fed with a stranger's bytes may fail in any way; whichever it is, the file is unreadable.
        raise ImageError(name, f"it is truncated or corrupt ({error or type(error).__name__})") from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        # Broken metadata do not make a picture unreadable; it is taken as it lies.
        return image


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        grey = _grey_levels(np.asarray(image))
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return np.asarray(image.convert("RGB"))


def _grey_levels(values: np.ndarray) -> np.ndarray:
    """Scale grey values of 16 bits, 32 bits or floats to 8 bits: to clip them, as Pillow does, would whiten all."""
    largest = float(values.max(initial=0))
    if values.dtype.kind == "f":
        top = 1.0 if largest <= 1 else 255.0 if largest <= 255 else 65535.0 if largest <= 65535 else largest
    else:
        top = 65535.0 if largest <= 65535 else float(np.iinfo(np.int32).max)
    return np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8)


def _reduction(header: Header, wanted: int) -> int:
    shorter = min(header.width, header.height)
    if header.format != "jpeg" or wanted <= 0:
        return 1
    return next((ratio for ratio in (8, 4, 2) if shorter // ratio >= 2 * wanted), 1)


def _too_large(width: int, height: int, max_pixels: int) -> str:
    return f"it claims {width} x {height} pixels, more than {max_pixels:,}"


def _not_empty(name: str, data: bytes) -> bytes:
    if not data:
        raise ImageError(name, "it is empty")
    return data


def _why_unopened(name: str, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "it is a broken link" if os.path.islink(name) else "there is no such file"
    if isinstance(error, PermissionError):
        return "its permissions forbid reading it"
    return f"it cannot be opened ({getattr(error, 'strerror', None) or error})"


def _looks_like(data: bytes) -> str:
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "an HTML page"
    if start.startswith((b"<?xml", b"<svg")):
        return "an SVG or XML file"
    if start.startswith(b"%pdf"):
        return "a PDF"
    return ""
