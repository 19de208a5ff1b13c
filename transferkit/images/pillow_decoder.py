"""From the bytes of a file to RGB pixels: the one function for training, evaluation, prediction and export."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import IcoImagePlugin, Image, ImageOps

from transferkit.errors import ImageError
from transferkit.images.files import open_regular
from transferkit.images.header import ImageHeader, read_header

# Half the number at which Pillow speaks of a decompression bomb: as many pixels as can be decoded, composited and
# resized within a gigabyte.
MAX_PIXELS = 89_478_485
# Pixels times passes of a progressive JPEG: a small file can demand thousands of passes over a large picture.
_MAX_SCANNED = 2_000_000_000
# Pixels that are converted at once.
_PIXELS_PER_STRIP = 4_000_000
# Bytes of an image whose pixels are written out as decimal numbers.
_MAX_TEXT = 32 << 20
_HIGH_BIT_DEPTH_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
# For each of EXIF's orientations, whether rows and columns are to be reversed; from 5 on they are exchanged afterwards.
ORIENTATION_FLIPS = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
# What Pillow may try. EPS and other formats that run an interpreter are left out, whatever a file says it is.
_FORMATS = ["JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "AVIF", "ICO", "PPM"]


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

    >>> read_image(b"<html></html>")
    Traceback (most recent call last):
    ...
    transferkit.errors.ImageError: Cannot read image '<bytes>': it is an HTML page
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
    if ".tfrecord" in name and not os.path.exists(name):
        from transferkit.data.tfrecord import parse_record_path, read_record

        if parse_record_path(name):
            return name, _not_empty(name, read_record(name))
    with open_regular(name) as file:
        try:
            return name, _not_empty(name, file.read())
        except OSError as error:
            raise ImageError(name, f"it cannot be read ({error.strerror})") from error


def decode(data: bytes, name: str = "<bytes>", *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode the contents of a file, called `name` in errors; see `read_image`."""
    header = read_header(data)
    check_header(header, name, max_pixels)
    return _by_tensorflow(data, name, header) if header.plain else decode_with_pillow(data, name, max_pixels)


def check_header(header: ImageHeader, name: str, max_pixels: int) -> None:
    """Refuse what must not come before a decoder.

    Raises:
        ImageError: when the image is too large, takes too long, or lacks its end.
    """
    pixels = header.width * header.height
    # The decoder of WebP keeps several copies of the canvas.
    max_pixels = max_pixels // 2 if header.format == "webp" else max_pixels
    if pixels > max_pixels:
        raise ImageError(name, _too_large(header.width, header.height, max_pixels))
    if header.num_scans * pixels > _MAX_SCANNED:
        raise ImageError(
            name, f"its {header.width} x {header.height} pixels come in {header.num_scans:,} passes, too many"
        )
    if not header.complete:
        raise ImageError(name, "it is truncated")


def reduction(header: ImageHeader, wanted: int) -> int:
    """Return 8, 4, 2 or 1: to which part of its size a JPEG can be decoded, if `wanted` pixels a side are enough."""
    shorter = min(header.width, header.height)
    if header.format != "jpeg" or wanted <= 0:
        return 1
    # The shorter side stays at least twice as long as wanted, so that resizing still chooses among real pixels.
    return next((ratio for ratio in (8, 4, 2) if shorter // ratio >= 2 * wanted), 1)


def _by_tensorflow(data: bytes, name: str, header: ImageHeader) -> np.ndarray:
    try:
        with tf.device("/CPU:0"):
            if header.format == "png":
                return np.array(tf.io.decode_png(data, channels=3))
            image = np.asarray(tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"))
            return np.array(upright(image, header.orientation))
    except tf.errors.OpError as error:
        raise ImageError(name, "it is truncated or corrupt") from error


def decode_with_pillow(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    """Decode with Pillow what TensorFlow cannot, or would do wrong."""
    if data[:2] in (b"P1", b"P2", b"P3") and len(data) > _MAX_TEXT:
        raise ImageError(name, f"its {len(data):,} bytes of written numbers take too long to read")
    try:
        # Pillow knows few formats until it is told to load them all, and was built without some on some machines.
        Image.init()
        known = [name for name in _FORMATS if name in Image.OPEN]
        with Image.open(io.BytesIO(data), formats=known) as image:
            _check_size(image, name, max_pixels)
            image.load()
            _apply_orientation(image)
            return to_rgb(image)
    except ImageError:
        raise
    except Image.UnidentifiedImageError as error:
        raise ImageError(name, f"it is {_describe_content(data)}") from error
    except Image.DecompressionBombError as error:
        raise ImageError(name, f"it claims more than {max_pixels:,} pixels") from error
    except Exception as error:
        # A decoder fed with a stranger's bytes may fail in any way; whichever it is, the file is unreadable.
        raise ImageError(name, f"it is truncated or corrupt ({str(error) or type(error).__name__})") from error


def _check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    sizes = [image.size]
    if isinstance(image, IcoImagePlugin.IcoImageFile):
        # The icon's own list of sizes may say one thing, and the PNG inside another.
        sizes.append(image.ico.getimage(image.size).size)
    for width, height in sizes:
        if width * height > max_pixels:
            raise ImageError(name, _too_large(width, height, max_pixels))


def _apply_orientation(image: Image.Image) -> None:
    # Broken metadata do not make a picture unreadable; it is taken as it lies.
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an image (height, width, 3) as EXIF's orientation, 1 to 8, says.

    >>> upright(np.arange(6).reshape(1, 2, 3), 6)[:, 0].tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    rows, columns = ORIENTATION_FLIPS[orientation]
    image = image[::-1] if rows else image
    image = image[:, ::-1] if columns else image
    return image.swapaxes(0, 1) if orientation >= 5 else image


def to_rgb(image: Image.Image) -> np.ndarray:
    """Return uint8 (height, width, 3) of a loaded image of any mode: alpha on white, 16 bits scaled to 8."""
    width, height = image.size
    if image.mode == "RGB" and not image.has_transparency_data and width * height <= _PIXELS_PER_STRIP:
        return np.array(image)
    convert = _grey_converter(image) if image.mode in _HIGH_BIT_DEPTH_MODES else _rgb_of
    pixels = np.empty((height, width, 3), np.uint8)
    # In bands: a large picture with all its layers and deep numbers would take many times its own memory.
    rows = max(1, _PIXELS_PER_STRIP // width)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        pixels[top:bottom] = convert(image.crop((0, top, width, bottom)))
    return pixels


def _rgb_of(image: Image.Image) -> np.ndarray:
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.asarray(image.convert("RGB"))


def _grey_converter(image: Image.Image) -> Callable[[Image.Image], np.ndarray]:
    """Scale grey values of 16 bits, 32 bits or floats to 8 bits: to clip them, as Pillow does, would whiten all."""
    largest = float(np.ravel(image.getextrema())[-1]) if image.mode in ("I", "F") else 65535.0
    if image.mode == "F":
        top = 1.0 if largest <= 1 else 255.0 if largest <= 255 else max(65535.0, largest)
    else:
        top = max(65535.0, largest)
    clear = image.info.get("transparency")

    def convert(band: Image.Image) -> np.ndarray:
        values = np.asarray(band)
        grey = np.rint(np.clip(np.nan_to_num(values.astype(np.float32)) / top, 0, 1) * 255).astype(np.uint8)
        if isinstance(clear, int):
            grey[values == clear] = 255
        return grey[..., None]

    return convert


def _too_large(width: int, height: int, max_pixels: int) -> str:
    return f"it claims {width} x {height} pixels, more than {max_pixels:,}"


def _not_empty(name: str, data: bytes) -> bytes:
    if not data:
        raise ImageError(name, "it is empty")
    return data


def _describe_content(data: bytes) -> str:
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "an HTML page"
    if start.startswith((b"<?xml", b"<svg")):
        return "an SVG or XML file"
    if start.startswith(b"%pdf"):
        return "a PDF"
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return "a HEIC photo; convert it to JPEG"
    if start.startswith(b"pk\x03\x04"):
        return "a ZIP archive"
    return "not an image of a known format"
