"""Reads the header of an image file before a decoder is called.

The header selects the decoder: TensorFlow's is fast but ignores orientation and alpha and supports few formats, so it
receives only plain JPEG and PNG files. Pillow decodes the rest.
"""

from __future__ import annotations

import dataclasses
import re
import struct
from typing import NamedTuple

_ORIENTATION = 0x0112
# Used only where EXIF has no orientation.
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=\"|>)([0-9])")
# Start-of-frame markers of baseline, extended and progressive Huffman JPEGs; common decoders support no others.
_DECODABLE_FRAMES = (0xC0, 0xC1, 0xC2)
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}


@dataclasses.dataclass(frozen=True)
class ImageHeader:
    """Properties of an image known before decoding.

    Attributes:
        format: "jpeg", "png", "gif", "bmp", "webp", "tiff", "avif", "heif", "ico", "ppm" or "" for unknown.
        width: int. Stored width in pixels; 0 where only a decoder can determine it.
        height: int. Stored height in pixels; 0 where only a decoder can determine it.
        tf_decodable: whether TensorFlow's decoder returns the right pixels, apart from the orientation.
        has_end_marker: False when the end of the image that the format requires is missing.
        num_scans: number of scans of a progressive JPEG.
        orientation: EXIF orientation of a `tf_decodable` file, 1 (upright) to 8.
    """

    format: str
    width: int = 0
    height: int = 0
    tf_decodable: bool = False
    has_end_marker: bool = True
    num_scans: int = 1
    orientation: int = 1

    @property
    def upright_size(self) -> tuple[int, int]:
        """(height, width) in pixels after the orientation is applied."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


class DecodeVariant(NamedTuple):
    """Properties of a file that select the operations which decode it.

    Attributes:
        format: "jpeg" or "png".
        scale_denominator: 1, 2, 4 or 8: a JPEG is decoded at one over this of its size; 1 for PNG.
        rotated: whether the orientation is not upright.
    """

    format: str
    scale_denominator: int
    rotated: bool


def read_header(data: bytes) -> ImageHeader:
    """Return the header of an encoded image; its format is "" for unknown contents.

    >>> read_header(b"<html></html>").format
    ''
    """
    format_name = sniff_format(data)
    if format_name in ("jpeg", "png", "gif"):
        return {"jpeg": _jpeg, "png": _png, "gif": _gif}[format_name](data)
    return ImageHeader(format_name, *(_webp_size(data) if format_name == "webp" else (0, 0)))


def sniff_format(data: bytes) -> str:
    """Return the format of the first bytes of a file, as in `ImageHeader`."""
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if data[:2] == b"BM":
        return "bmp"
    if data[4:8] == b"ftyp":
        brands = iso_media_brands(data)
        return "avif" if brands & _AVIF_BRANDS else "heif" if brands & _HEIF_BRANDS else ""
    if data[:4] == b"\0\0\1\0":
        return "ico"
    if data[:2] in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"):
        return "ppm"
    return ""


def iso_media_brands(data: bytes) -> set[bytes]:
    """Return the brands of an ISO media file, such as a HEIC image or an MP4 video."""
    end = min(int.from_bytes(data[:4], "big"), len(data), 256)
    return {data[8:12], *(data[start : start + 4] for start in range(16, end, 4))}


def _jpeg(data: bytes) -> ImageHeader:
    width = height = components = 0
    decodable, adobe, num_scans = True, None, 1
    exif: list[int | None] = []
    xmp: int | None = None
    offset = 2
    while offset + 4 <= len(data):
        if data[offset] != 0xFF:
            decodable = False
            break
        marker = data[offset + 1]
        if marker == 0xFF:
            offset += 1
            continue
        if marker in (0xDA, 0xD9):
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            offset += 2
            continue
        length = int.from_bytes(data[offset + 2 : offset + 4], "big")
        body = data[offset + 4 : offset + 2 + length]
        if marker in _FRAMES and len(body) >= 6:
            precision, height, width, components = struct.unpack(">BHHB", body[:6])
            decodable = decodable and marker in _DECODABLE_FRAMES and precision == 8
            # In the coded data every 0xFF is followed by 0, so that counting finds only markers.
            num_scans = data.count(b"\xff\xda", offset) if marker in _PROGRESSIVE else 1
        elif marker == 0xE1 and body[:6] == b"Exif\0\0":
            exif.append(_exif_orientation(body[6:]))
        elif marker == 0xE1 and (found := _XMP_ORIENTATION.search(body)):
            xmp = int(found[1])
        elif marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        offset += 2 + max(2, length)
    # Adobe files without a color transform hold RGB in three components, inverted CMYK in four.
    orientation = next((value for value in [*exif, xmp] if value is not None), 1)
    decodable = decodable and width > 0 and height > 0 and 1 <= orientation <= 8 and len(exif) <= 1
    decodable = decodable and (components == 1 or (components == 3 and adobe in (None, 1)))
    # Cameras append data after the end marker, so it need not be last.
    has_end = data.rfind(b"\xff\xd9") > offset
    return ImageHeader("jpeg", width, height, decodable, has_end, num_scans, orientation if decodable else 1)


def _exif_orientation(tiff: bytes) -> int | None:
    """Return the orientation in an EXIF block: None where it has none, 0 where the block is invalid."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 0
    offset = struct.unpack(order + "I", tiff[4:8])[0]
    if offset + 2 > len(tiff):
        return 0
    for entry in range(struct.unpack(order + "H", tiff[offset : offset + 2])[0]):
        field = tiff[offset + 2 + 12 * entry : offset + 14 + 12 * entry]
        if len(field) < 12:
            return 0
        tag, kind = struct.unpack(order + "HH", field[:4])
        if tag == _ORIENTATION:
            return struct.unpack(order + "H", field[8:10])[0] if kind == 3 else 0
    return None


def _png(data: bytes) -> ImageHeader:
    if len(data) < 33 or data[12:16] != b"IHDR":
        return ImageHeader("png", has_end_marker=False)
    width, height, depth, color = struct.unpack(">IIBB", data[16:26])
    decodable = depth == 8 and color in (0, 2)
    offset, has_end = 8, False
    while offset + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[offset : offset + 8])
        # TensorFlow ignores transparency, orientation and animation.
        decodable = decodable and kind not in (b"tRNS", b"eXIf", b"acTL")
        decodable = decodable and not (kind == b"iTXt" and b"Orientation" in data[offset + 8 : offset + 8 + length])
        if kind == b"IEND":
            has_end = True
            break
        offset += 12 + length
    return ImageHeader("png", width, height, decodable, has_end)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return (width, height): Pillow allocates the canvas before it reports the size."""
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        return 0, 0
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        packed = int.from_bytes(body[1:5], "little")
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _gif(data: bytes) -> ImageHeader:
    """Return the header of a GIF; its end marker is that of the first frame, which Pillow does not check."""
    if len(data) < 13:
        return ImageHeader("gif", has_end_marker=False)
    width, height, flags = struct.unpack("<HHB", data[6:11])
    offset = 13 + _color_table_bytes(flags)
    while offset < len(data) and data[offset] in (0x21, 0x2C):
        is_frame = data[offset] == 0x2C
        offset += 2
        if is_frame:
            offset += 9 + (_color_table_bytes(data[offset + 7]) if offset + 7 < len(data) else 0)
        while offset < len(data) and data[offset]:
            offset += 1 + data[offset]
        offset += 1
        if is_frame:
            return ImageHeader("gif", width, height, has_end_marker=offset <= len(data))
    return ImageHeader("gif", width, height, has_end_marker=False)


def _color_table_bytes(flags: int) -> int:
    return 3 << (1 + (flags & 7)) if flags & 0x80 else 0
