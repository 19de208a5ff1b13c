"""What a file's first bytes say of the image in it, read before any decoder is called.

The header decides which decoder is right: TensorFlow's is fast but ignores orientation and alpha and knows few
formats, so it gets only plain JPEG and PNG files, and what it gives is turned upright; the rest goes to Pillow.
"""

from __future__ import annotations

import dataclasses
import re
import struct

_ORIENTATION = 0x0112
# It counts where EXIF has none.
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=\"|>)([0-9])")
# Start-of-frame markers of baseline, extended and progressive Huffman JPEGs; the others hold what nobody decodes.
_PLAIN_FRAMES = (0xC0, 0xC1, 0xC2)
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


@dataclasses.dataclass(frozen=True)
class ImageHeader:
    """What is known of an image before decoding.

    Attributes:
        format: "jpeg", "png", "gif", "bmp", "webp", "tiff", "avif", "ico", "ppm" or "" for unknown.
        width: in pixels as stored, 0 where it is not known without a decoder.
        height: in pixels as stored, 0 where it is not known without a decoder.
        plain: whether TensorFlow's decoder gives the right pixels, but for the orientation.
        orientation: of a plain file, as EXIF numbers it: 1 for upright, up to 8.
        complete: False when the end that the format demands is missing.
        scans: passes over the picture that a progressive JPEG makes.
    """

    format: str
    width: int = 0
    height: int = 0
    plain: bool = False
    complete: bool = True
    num_scans: int = 1
    orientation: int = 1

    @property
    def upright_size(self) -> tuple[int, int]:
        """(height, width) of the picture when it is turned upright."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


def read_header(data: bytes) -> ImageHeader:
    """Read the header of a file's contents; unknown formats give an empty one.

    >>> read_header(b"<html></html>").format
    ''
    """
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png(data)
    form = _sniff_format(data)
    if form == "gif":
        return _gif(data)
    return ImageHeader(form, *(_webp_size(data) if form == "webp" else (0, 0)))


def _sniff_format(data: bytes) -> str:
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if data[:2] == b"BM":
        return "bmp"
    if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis"):
        return "avif"
    if data[:4] == b"\0\0\1\0":
        return "ico"
    if data[:2] in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"):
        return "ppm"
    return ""


def _jpeg(data: bytes) -> ImageHeader:
    width = height = components = 0
    plain, adobe, num_scans = True, None, 1
    exif: list[int | None] = []
    xmp: int | None = None
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            plain = False
            break
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in (0xDA, 0xD9):
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if marker in _FRAMES and len(body) >= 6:
            precision, height, width, components = struct.unpack(">BHHB", body[:6])
            plain = plain and marker in _PLAIN_FRAMES and precision == 8
            # In the coded data every 0xFF is followed by 0, so that this marker is found by counting.
            num_scans = data.count(b"\xff\xda", at) if marker in _PROGRESSIVE else 1
        elif marker == 0xE1 and body[:6] == b"Exif\0\0":
            exif.append(_exif_orientation(body[6:]))
        elif marker == 0xE1 and (found := _XMP_ORIENTATION.search(body)):
            xmp = int(found[1])
        elif marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        at += 2 + max(2, length)
    # An Adobe file of three components without a colour transform holds RGB; of four, inverted CMYK.
    orientation = next((value for value in [*exif, xmp] if value is not None), 1)
    plain = plain and width > 0 and height > 0 and 1 <= orientation <= 8 and len(exif) <= 1
    plain = plain and (components == 1 or (components == 3 and adobe in (None, 1)))
    # Cameras append all sorts of things after the end marker, so it is looked for, not expected at the very end.
    return ImageHeader(
        "jpeg", width, height, plain, data.rfind(b"\xff\xd9") > at, num_scans, orientation if plain else 1
    )


def _exif_orientation(tiff: bytes) -> int | None:
    """Return the orientation tag of an EXIF block: None where there is none, 0 where the block cannot be read."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 0
    at = struct.unpack(order + "I", tiff[4:8])[0]
    if at + 2 > len(tiff):
        return 0
    for entry in range(struct.unpack(order + "H", tiff[at : at + 2])[0]):
        field = tiff[at + 2 + 12 * entry : at + 14 + 12 * entry]
        if len(field) < 12:
            return 0
        tag, kind = struct.unpack(order + "HH", field[:4])
        if tag == _ORIENTATION:
            return struct.unpack(order + "H", field[8:10])[0] if kind == 3 else 0
    return None


def _png(data: bytes) -> ImageHeader:
    if len(data) < 33 or data[12:16] != b"IHDR":
        return ImageHeader("png", complete=False)
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    plain = depth == 8 and colour in (0, 2)
    at, complete = 8, False
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        # Transparency, orientation and animation are what TensorFlow does not see.
        plain = plain and kind not in (b"tRNS", b"eXIf", b"acTL")
        plain = plain and not (kind == b"iTXt" and b"Orientation" in data[at + 8 : at + 8 + length])
        if kind == b"IEND":
            complete = True
            break
        at += 12 + length
    return ImageHeader("png", width, height, plain, complete)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return (width, height): Pillow sets memory aside for the whole canvas before it says how large that is."""
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
    """Return the header of a GIF: complete where its first picture is, which Pillow does not look at."""
    if len(data) < 13:
        return ImageHeader("gif", complete=False)
    width, height, flags = struct.unpack("<HHB", data[6:11])
    at = 13 + _color_table_bytes(flags)
    while at < len(data) and data[at] in (0x21, 0x2C):
        is_picture = data[at] == 0x2C
        at += 2
        if is_picture:
            at += 9 + (_color_table_bytes(data[at + 7]) if at + 7 < len(data) else 0)
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
        if is_picture:
            return ImageHeader("gif", width, height, complete=at <= len(data))
    return ImageHeader("gif", width, height, complete=False)


def _color_table_bytes(flags: int) -> int:
    return 3 << (1 + (flags & 7)) if flags & 0x80 else 0
