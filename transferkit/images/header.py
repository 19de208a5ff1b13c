"""Reads the header of an image file before a decoder is called.

The header selects the decoder: TensorFlow's is fast but ignores orientation and alpha and supports few formats, so it
receives only plain JPEG and PNG files. Pillow decodes the rest.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import NamedTuple

from transferkit.images.color_profile import changes_colors
from transferkit.images.formats import sniff_format
from transferkit.images.jpeg import MAX_SEGMENTS, read_segments
from transferkit.images.png import MAX_CHUNKS, needs_pillow, png_chunks

TRUNCATED = "it is truncated"
# Real files of 256 MB have fewer blocks; a loop over many more would take seconds.
_MAX_BLOCKS = 1_200_000


@dataclasses.dataclass(frozen=True)
class ImageHeader:
    """Properties of an image known before decoding.

    Attributes:
        format: "jpeg", "png", "gif", "bmp", "webp", "tiff", "avif", "heif", "ico", "ppm" or "" for unknown.
        width: int. Stored width in pixels; 0 where only a decoder can determine it.
        height: int. Stored height in pixels; 0 where only a decoder can determine it.
        tf_decodable: whether TensorFlow's decoder returns the right pixels, apart from the orientation.
        problem: str. Why the file must not reach a decoder, such as a missing end marker; "" if there is no reason.
        num_scans: number of scans of a progressive JPEG.
        orientation: EXIF orientation of a `tf_decodable` file, 1 (upright) to 8.
    """

    format: str
    width: int = 0
    height: int = 0
    tf_decodable: bool = False
    problem: str = ""
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


def _jpeg(data: bytes) -> ImageHeader:
    found = read_segments(data)
    if found is None:
        return ImageHeader("jpeg", problem=f"it has more than {MAX_SEGMENTS:,} segments")
    size, orientation, adobe = (found.width, found.height), found.orientation, found.adobe_transform
    # Adobe files without a color transform hold RGB in three components, inverted CMYK in four.
    has_plain_colors = found.components == 1 or (found.components == 3 and adobe in (None, 1))
    decodable = found.has_common_coding and has_plain_colors and min(size) > 0
    decodable = decodable and 1 <= orientation <= 8 and len(found.exif_orientations) <= 1
    decodable = decodable and not changes_colors(found.profile, "L" if found.components == 1 else "RGB")
    # Cameras append data after the end marker, so it need not be last.
    problem = "" if data.rfind(b"\xff\xd9") > found.end else TRUNCATED
    return ImageHeader("jpeg", *size, decodable, problem, found.num_scans, orientation if decodable else 1)


def _png(data: bytes) -> ImageHeader:
    if len(data) < 33 or data[12:16] != b"IHDR":
        return ImageHeader("png", problem=TRUNCATED)
    width, height, depth, color = struct.unpack(">IIBB", data[16:26])
    decodable = depth == 8 and color in (0, 2)
    mode = "L" if color == 0 else "RGB"
    for number, (kind, start, end) in enumerate(png_chunks(data)):
        if number >= MAX_CHUNKS:
            return ImageHeader("png", width, height, problem=f"it has more than {MAX_CHUNKS:,} chunks")
        if kind == b"IEND":
            return ImageHeader("png", width, height, decodable)
        if kind != b"IDAT":
            decodable = decodable and not needs_pillow(kind, data[start:end], mode)
    return ImageHeader("png", width, height, decodable, TRUNCATED)


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
        return ImageHeader("gif", problem=TRUNCATED)
    width, height, flags = struct.unpack("<HHB", data[6:11])
    offset = 13 + _color_table_bytes(flags)
    blocks = 0
    while offset < len(data) and data[offset] in (0x21, 0x2C):
        is_frame = data[offset] == 0x2C
        offset += 2
        if is_frame:
            offset += 9 + (_color_table_bytes(data[offset + 7]) if offset + 7 < len(data) else 0)
        while offset < len(data) and data[offset] and blocks <= _MAX_BLOCKS:
            offset += 1 + data[offset]
            blocks += 1
        offset += 1
        blocks += 1
        if blocks > _MAX_BLOCKS:
            return ImageHeader("gif", width, height, problem=f"it has more than {_MAX_BLOCKS:,} blocks")
        if is_frame:
            return ImageHeader("gif", width, height, problem="" if offset <= len(data) else TRUNCATED)
    return ImageHeader("gif", width, height, problem=TRUNCATED)


def _color_table_bytes(flags: int) -> int:
    return 3 << (1 + (flags & 7)) if flags & 0x80 else 0
