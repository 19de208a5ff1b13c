"""Files of every format and edge case: each with the image that it decodes to, or the reason why it cannot be read."""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Made = bytes | Callable[[Path], None]


@dataclasses.dataclass(frozen=True)
class CorpusFile:
    """One row of the table in docs/data.md.

    Attributes:
        name: name of the file.
        make: its contents, or a function that creates it.
        shows: the decoded image uint8 (height, width, 3), or None where it cannot be read.
        reason: part of the error's reason, where it cannot be read.
        tolerance: largest mean difference from the image in gray levels.
    """

    name: str
    make: Made
    shows: np.ndarray | None = None
    reason: str = ""
    tolerance: float = 0.0

    def put(self, folder: Path) -> Path:
        """Create the file in `folder` and return its path."""
        path = folder / self.name
        if isinstance(self.make, bytes):
            path.write_bytes(self.make)
        else:
            self.make(path)
        return path


@functools.cache
def sample_image() -> np.ndarray:
    """Return an image of 48 x 64 pixels with soft colors, different in each corner."""
    down, right = np.mgrid[0:48, 0:64]
    channels = 40 + 3 * right, 30 + 4 * down, 60 + down + 2 * right
    image = np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)
    image[4:16, 6:20] = (220, 40, 30)
    return image


def encode(pixels: np.ndarray | Image.Image, form: str, **options: object) -> bytes:
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def stored_as(orientation: int) -> np.ndarray:
    """Return the sample image as a rotated camera stores it."""
    image = Image.fromarray(sample_image())
    ways = Image.Transpose
    undo = {
        2: ways.FLIP_LEFT_RIGHT,
        3: ways.ROTATE_180,
        4: ways.FLIP_TOP_BOTTOM,
        5: ways.TRANSPOSE,
        6: ways.ROTATE_90,
        7: ways.TRANSVERSE,
        8: ways.ROTATE_270,
    }
    return np.asarray(image if orientation == 1 else image.transpose(undo[orientation]))


def with_alpha() -> tuple[np.ndarray, np.ndarray]:
    """Return an image (48, 64, 4), and its composition on white."""
    alpha = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    weight = alpha[..., None] / 255.0
    on_white = np.rint(sample_image() * weight + 255.0 * (1 - weight)).astype(np.uint8)
    return np.dstack([sample_image(), alpha]), on_white


def gray() -> np.ndarray:
    return np.repeat(sample_image()[..., :1], 3, axis=-1)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_claiming(width: int, height: int, rows: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def many_scans() -> bytes:
    """Return a progressive JPEG of 0.5 MB with 400 scans of 36 million pixels."""
    data = encode(Image.new("RGB", (6000, 6000)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * 400 + b"\xff\xd9"


def rgb_jpeg() -> bytes:
    """Return a JPEG that stores RGB, not YCbCr, according to its Adobe marker."""
    return encode(sample_image(), "JPEG", quality=98, keep_rgb=True)


def not_upright(form: str, orientation: int, **options: object) -> bytes:
    return encode(stored_as(orientation), form, exif=exif(orientation), **options)


def with_xmp_orientation() -> bytes:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    return encode(stored_as(6), "JPEG", quality=98, xmp=xmp)


def unreadable(path: Path) -> None:
    path.write_bytes(encode(sample_image(), "PNG"))
    path.chmod(0)


@functools.cache
def image_corpus() -> dict[str, CorpusFile]:
    """Return all files by the name of their row in docs/data.md."""
    show = sample_image()
    other = np.ascontiguousarray(show[::-1])
    rgba, on_white = with_alpha()
    palette = Image.fromarray(show).quantize(32)
    in_palette = np.asarray(palette.convert("RGB"))
    deep = np.asarray(show[..., 0], np.uint16) * 257
    jpeg, png = encode(show, "JPEG", quality=98), encode(show, "PNG")
    frames = [Image.fromarray(other)] * 2
    see_through = palette.copy()
    hole = np.asarray(palette) == np.asarray(palette)[0, 0]
    rows: dict[str, tuple] = {
        "JPEG": ("a.jpg", jpeg, show, "", 2),
        "progressive JPEG": ("a.jpg", encode(show, "JPEG", quality=98, progressive=True), show, "", 2),
        "gray JPEG": ("a.jpg", encode(show[..., 0].copy(), "JPEG", quality=98), gray(), "", 2),
        "CMYK JPEG": ("a.jpg", encode(Image.fromarray(show).convert("CMYK"), "JPEG", quality=98), show, "", 3),
        "RGB JPEG": ("a.jpg", rgb_jpeg(), show, "", 2),
        "JPEG with an XMP orientation": ("a.jpg", with_xmp_orientation(), show, "", 2),
        "JPEG with bytes after its end": ("a.jpg", jpeg + b"trailing" * 99, show, "", 2),
        "upper-case extension": ("A.JPG", jpeg, show, "", 2),
        "PNG": ("a.png", png, show),
        "gray PNG": ("a.png", encode(show[..., 0].copy(), "PNG"), gray()),
        "one-bit PNG": (
            "a.png",
            encode(Image.fromarray(hole), "PNG"),
            np.repeat(hole[..., None] * np.uint8(255), 3, -1),
        ),
        "palette PNG": ("a.png", encode(palette, "PNG"), in_palette),
        "palette PNG with transparency": (
            "a.png",
            encode(see_through, "PNG", transparency=int(np.asarray(palette)[0, 0])),
            np.where(hole[..., None], np.uint8(255), in_palette),
        ),
        "PNG with alpha": ("a.png", encode(rgba, "PNG"), on_white, "", 0.5),
        "gray PNG with alpha": (
            "a.png",
            encode(Image.fromarray(rgba[..., [0, 3]].copy(), "LA"), "PNG"),
            np.repeat(on_white[..., :1], 3, axis=-1),
            "",
            0.5,
        ),
        "16-bit gray PNG": ("a.png", encode(deep, "PNG"), gray()),
        "16-bit gray TIFF": ("a.tif", encode(deep, "TIFF"), gray()),
        "animated PNG": ("a.png", encode(show, "PNG", save_all=True, append_images=frames), show),
        "GIF": ("a.gif", encode(palette, "GIF"), in_palette),
        "animated GIF": ("a.gif", encode(palette, "GIF", save_all=True, append_images=frames), in_palette),
        "BMP": ("a.bmp", encode(show, "BMP"), show),
        "palette BMP": ("a.bmp", encode(palette, "BMP"), in_palette),
        "WebP": ("a.webp", encode(show, "WEBP", lossless=True), show),
        "lossy WebP": ("a.webp", encode(show, "WEBP", quality=98), show, "", 4),
        "WebP with alpha": ("a.webp", encode(rgba, "WEBP", lossless=True, exact=True), on_white, "", 0.5),
        "animated WebP": ("a.webp", encode(show, "WEBP", lossless=True, save_all=True, append_images=frames), show),
        "TIFF": ("a.tiff", encode(show, "TIFF"), show),
        "compressed TIFF": ("a.tif", encode(show, "TIFF", compression="tiff_lzw"), show),
        "CMYK TIFF": ("a.tif", encode(Image.fromarray(show).convert("CMYK"), "TIFF"), show, "", 1),
        "TIFF of several pages": ("a.tif", encode(show, "TIFF", save_all=True, append_images=frames), show),
        "icon": ("a.ico", encode(show[:32, :32].copy(), "ICO", sizes=[(32, 32)]), show[:32, :32]),
        "PNG called .jpg": ("a.jpg", png, show),
        "JPEG called .png": ("a.png", jpeg, show, "", 2),
        "name with spaces": ("my photo.png", png, show),
        "name with emoji": ("\N{CAT FACE}.png", png, show),
        "name with a newline": ("two\nlines.png", png, show),
        "name with quotes": ('"it\'s".png', png, show),
        "name that is not Unicode": (os.fsdecode(b"\xff\xfe.png"), png, show),
        "1 x 1": ("a.png", encode(show[:1, :1].copy(), "PNG"), show[:1, :1]),
        "1 x 20000": (
            "a.png",
            encode(np.repeat(show[:1, :1], 20000, axis=0), "PNG"),
            np.repeat(show[:1, :1], 20000, 0),
        ),
        "empty file": ("a.jpg", b"", None, "empty"),
        "truncated JPEG": ("a.jpg", jpeg[: len(jpeg) // 2], None, "truncated"),
        "JPEG without its last bytes": ("a.jpg", jpeg[:-2], None, "truncated"),
        "truncated PNG": ("a.png", png[: len(png) // 2], None, "truncated"),
        "PNG with a wrong checksum": ("a.png", png[:60] + bytes([png[60] ^ 1]) + png[61:], None, "corrupt"),
        "truncated GIF": ("a.gif", encode(palette, "GIF")[:600], None, "truncated"),
        "truncated WebP": ("a.webp", encode(show, "WEBP")[:300], None, "truncated"),
        "truncated TIFF": ("a.tif", encode(show, "TIFF")[:2000], None, "truncated"),
        "HTML page called .jpg": ("a.jpg", b"<!DOCTYPE html><html>404</html>", None, "an HTML page"),
        "text called .png": ("a.png", b"not an image at all", None, "not an image"),
        "PNG that claims 30000 x 30000": ("a.png", png_claiming(30000, 30000), None, "30000 x 30000 pixels"),
        "GIF that claims 30000 x 30000": (
            "a.gif",
            b"GIF89a" + struct.pack("<HH", 30000, 30000) + b"\0\0\0",
            None,
            "pixels",
        ),
        "JPEG of many passes": ("a.jpg", many_scans(), None, "scans"),
        "folder called .jpg": ("a.jpg", lambda path: path.mkdir(), None, "folder"),
        "broken link": ("a.jpg", lambda path: path.symlink_to("nowhere.jpg"), None, "broken link"),
        "loop of links": ("a.jpg", lambda path: path.symlink_to(path.name), None, "cannot be opened"),
        "FIFO": ("a.jpg", lambda path: os.mkfifo(path), None, "not a regular file"),
        "device": ("a.jpg", lambda path: path.symlink_to("/dev/zero"), None, "not a regular file"),
        "unreadable file": ("a.png", unreadable, None, "permissions"),
        "missing file": ("a.jpg", lambda path: None, None, "no such file"),
    }
    for number in range(1, 9):
        rows[f"JPEG of orientation {number}"] = ("a.jpg", not_upright("JPEG", number, quality=98), show, "", 2)
        rows[f"PNG of orientation {number}"] = ("a.png", not_upright("PNG", number), show)
        rows[f"WebP of orientation {number}"] = ("a.webp", not_upright("WEBP", number, lossless=True), show)
        rows[f"TIFF of orientation {number}"] = ("a.tif", not_upright("TIFF", number), show)
    return {name: CorpusFile(*row) for name, row in rows.items()}
