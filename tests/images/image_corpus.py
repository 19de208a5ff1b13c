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
from PIL import Image, PngImagePlugin

from tests.images.profiles import DISPLAY_P3, in_srgb, matrix_profile, to_srgb
from transferkit.images.codecs import avif_is_decodable, heif_image_class

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


def with_png_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """Return a PNG file with one more chunk after its header."""
    return png[:33] + png_chunk(kind, body) + png[33:]


def gray_tiff(values: np.ndarray, *, white_is_zero: bool = False, samples: int = 1) -> bytes:
    """Return an uncompressed TIFF of unsigned integers or floats."""
    height, width = values.shape[:2]
    bits, kind = 8 * values.dtype.itemsize, 3 if values.dtype.kind == "f" else 1
    pixels = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    photometric = 2 if samples == 3 else 0 if white_is_zero else 1
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 0), (277, samples)]
    tags += [(278, height), (279, len(pixels)), (339, kind)]
    start = 8 + 2 + 12 * len(tags) + 4
    # Three samples have three numbers of bits and kinds, which are stored after the directory.
    lists = b"".join(struct.pack("<3H", *3 * [number]) for number in (bits, kind)) if samples == 3 else b""
    entries = b""
    for tag, value in tags:
        if samples == 3 and tag in (258, 339):
            entries += struct.pack("<HHII", tag, 3, 3, start + (0 if tag == 258 else 6))
        else:
            entries += struct.pack("<HHII", tag, 4, 1, start + len(lists) if tag == 273 else value)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + lists + pixels


def bmp_without_alpha() -> bytes:
    """Return a BMP whose header has an alpha channel, which the program that wrote it left 0."""
    show = sample_image()
    pixels = np.dstack([show[::-1, :, ::-1], np.zeros(show.shape[:2], np.uint8)]).tobytes()
    head = struct.pack("<IiiHHIIiiII", 108, 64, 48, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    head += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(pixels), 0, 0, 14 + len(head)) + head + pixels


def cmyk_without_adobe_marker() -> bytes:
    """Return a CMYK JPEG in which 0 is no ink, without the marker of files that store 255 minus the ink."""
    ink = 255 - np.asarray(Image.fromarray(sample_image()).convert("CMYK"))
    data = encode(Image.fromarray(ink, "CMYK"), "JPEG", quality=98)
    marker = data.index(b"\xff\xee\0\x0eAdobe")
    return data[:marker] + data[marker + 16 :]


def rotated_by_raw_profile() -> bytes:
    """Return a PNG whose orientation is in a text, as ImageMagick writes it."""
    block = b"Exif\0\0" + exif(6).tobytes()[6:]
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{block.hex()}\n", zip=True)
    return encode(stored_as(6), "PNG", pnginfo=text)


def heic() -> bytes:
    """Return a HEIC file, or only its first bytes where no encoder is installed."""
    if heif_image_class() is None:
        return b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99)
    import pillow_heif

    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(sample_image())).save(file, quality=95)
    return file.getvalue()


def ramp(low: float, high: float) -> np.ndarray:
    """Return gray values float32 (48, 64) that rise from left to right."""
    return np.tile(np.linspace(low, high, 64, dtype=np.float32), (48, 1))


def as_rgb(gray_levels: np.ndarray) -> np.ndarray:
    return np.repeat(np.rint(gray_levels).astype(np.uint8)[..., None], 3, axis=-1)


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
    rows |= rows_of_colors() | rows_of_values() | rows_of_other_types()
    for number in range(1, 9):
        rows[f"JPEG of orientation {number}"] = ("a.jpg", not_upright("JPEG", number, quality=98), show, "", 2)
        rows[f"PNG of orientation {number}"] = ("a.png", not_upright("PNG", number), show)
        rows[f"WebP of orientation {number}"] = ("a.webp", not_upright("WEBP", number, lossless=True), show)
        rows[f"TIFF of orientation {number}"] = ("a.tif", not_upright("TIFF", number), show)
    return {name: CorpusFile(*row) for name, row in rows.items()}


def rows_of_colors() -> dict[str, tuple]:
    """Return files whose colors are not those of sRGB, and alpha channels that are not used."""
    show = sample_image()
    srgb, wide, linear = matrix_profile(None), matrix_profile(2.2, DISPLAY_P3), matrix_profile(1.0, gray=True)
    narrow = in_srgb(show, 2.2, DISPLAY_P3)
    lighter = np.rint(255 * to_srgb(show / 255)).astype(np.uint8)
    png, unused = encode(show, "PNG"), np.dstack([show, np.zeros(show.shape[:2], np.uint8)])
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "node " * 400_000, zip=True)
    rgb, gray_levels = Image.fromarray(show), Image.fromarray(show[..., 0].copy())
    return {
        "JPEG with an sRGB profile": ("a.jpg", encode(rgb, "JPEG", quality=98, icc_profile=srgb), show, "", 2),
        "JPEG with an ICC profile": ("a.jpg", encode(rgb, "JPEG", quality=98, icc_profile=wide), narrow, "", 2),
        "gray JPEG with an ICC profile": (
            "a.jpg",
            encode(gray_levels, "JPEG", quality=98, icc_profile=linear),
            np.repeat(lighter[..., :1], 3, axis=-1),
            "",
            2,
        ),
        "PNG with an ICC profile": ("a.png", encode(rgb, "PNG", icc_profile=wide), narrow, "", 1),
        "WebP with an ICC profile": (
            "a.webp",
            encode(rgb, "WEBP", lossless=True, icc_profile=wide),
            narrow,
            "",
            1,
        ),
        "TIFF with an ICC profile": ("a.tif", encode(rgb, "TIFF", icc_profile=wide), narrow, "", 1),
        "PNG with a gamma of 1.0": (
            "a.png",
            with_png_chunk(png, b"gAMA", struct.pack(">I", 100_000)),
            lighter,
            "",
            0.1,
        ),
        "CMYK JPEG without an Adobe marker": ("a.jpg", cmyk_without_adobe_marker(), show, "", 3),
        "PNG with alpha 0 everywhere": ("a.png", encode(unused, "PNG"), show),
        "BMP with alpha 0 everywhere": ("a.bmp", bmp_without_alpha(), show),
        "PNG with a long text": ("a.png", encode(Image.fromarray(unused), "PNG", pnginfo=text), show),
        "PNG with its orientation in a text": ("a.png", rotated_by_raw_profile(), show),
    }


def rows_of_values() -> dict[str, tuple]:
    """Return files whose gray values are not of 8 bits."""
    unit, other = ramp(0, 1), ramp(-0.4, 3)
    spoiled, shown = unit.copy(), as_rgb(255 * unit)
    spoiled[5, 7:9], shown_spoiled = (np.nan, 1.3), shown.copy()
    shown_spoiled[5, 7:9] = [[0], [255]]
    deep = np.asarray(sample_image()[..., 0], np.uint16) * 257
    return {
        "float TIFF of values in [0, 1]": ("a.tif", gray_tiff(unit), shown),
        "float TIFF of values in [0, 255]": ("a.tif", gray_tiff(255 * unit), shown),
        "float TIFF of other values": ("a.tif", gray_tiff(other), as_rgb(255 * (other + 0.4) / 3.4), "", 0.1),
        "float TIFF with NaN or outliers": ("a.tif", gray_tiff(spoiled), shown_spoiled),
        "float TIFF without a finite value": ("a.tif", gray_tiff(unit * np.nan), None, "no finite value"),
        "16-bit TIFF in which white is 0": ("a.tif", gray_tiff(65535 - deep, white_is_zero=True), gray()),
        "TIFF of float colors": (
            "a.tif",
            gray_tiff(np.dstack([unit] * 3), samples=3),
            None,
            "3 x 32-bit float values",
        ),
    }


def rows_of_other_types() -> dict[str, tuple]:
    """Return files of formats that need another decoder, and files of too many parts."""
    show = sample_image()
    jpeg, png = encode(show, "JPEG"), encode(show, "PNG")
    can_heic, can_avif = heif_image_class() is not None, avif_is_decodable()
    avif = encode(show, "AVIF", quality=95) if can_avif else b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(99)
    gif = encode(Image.fromarray(show).quantize(32), "GIF")
    return {
        "HEIC": ("a.heic", heic(), show if can_heic else None, "transferkit[heif]", 4),
        "AVIF": ("a.avif", avif, show if can_avif else None, "install pillow", 4),
        "camera raw file": ("a.nef", encode(show, "TIFF"), None, "camera raw"),
        "video called .jpg": ("a.jpg", b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(99), None, "a video"),
        "JPEG of many segments": ("a.jpg", jpeg[:2] + b"\xff\xfe\0\2" * 10_001 + jpeg[2:], None, "10,000 segments"),
        "PNG of many chunks": (
            "a.png",
            png[:33] + png_chunk(b"abCd", b"") * 100_001 + png[33:],
            None,
            "100,000 chunks",
        ),
        "GIF of many blocks": ("a.gif", gif[:109] + b"!\xfe" + b"\1x" * 1_200_001 + b"\0" + gif[109:], None, "blocks"),
        "text PPM of 13 MB": ("a.ppm", b"P3 2000 2000 255\n" + b"255 " * 3_250_000, None, "decimal text"),
    }
