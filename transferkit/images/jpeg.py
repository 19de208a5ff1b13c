"""Reads the segments of a JPEG file before its coded data."""

from __future__ import annotations

import dataclasses
import re
import struct

from transferkit.images.tiff import tiff_tags

_ORIENTATION = 0x0112
# Used only where EXIF has no orientation.
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=\"|>)([0-9])")
# Start-of-frame markers of baseline, extended and progressive Huffman JPEGs; common decoders support no others.
_DECODABLE_FRAMES = (0xC0, 0xC1, 0xC2)
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# Even the metadata of a file of 256 MB fit into half as many; millions of empty segments would take many seconds.
MAX_SEGMENTS = 10_000


@dataclasses.dataclass
class JpegSegments:
    """Properties that the segments of a JPEG file state.

    Attributes:
        width: int. 0 without a frame.
        height: int. 0 without a frame.
        components: int. 1 (gray), 3 (YCbCr or RGB) or 4 (CMYK).
        has_common_coding: whether common decoders support the coding.
        num_scans: number of scans of a progressive JPEG.
        adobe_transform: color transform of the Adobe segment, None without one.
        exif_orientations: one per EXIF segment: None where it has none, 0 where it is invalid.
        xmp_orientation: the orientation in XMP, None without one.
        profile_parts: the segments of the ICC profile.
        end: int. Position where the coded data begin.
    """

    width: int = 0
    height: int = 0
    components: int = 0
    has_common_coding: bool = True
    num_scans: int = 1
    adobe_transform: int | None = None
    exif_orientations: list[int | None] = dataclasses.field(default_factory=list)
    xmp_orientation: int | None = None
    profile_parts: list[bytes] = dataclasses.field(default_factory=list)
    end: int = 2

    @property
    def orientation(self) -> int:
        """The EXIF orientation, or that of XMP, or 1; 0 where it is invalid."""
        found = [*self.exif_orientations, self.xmp_orientation]
        return next((value for value in found if value is not None), 1)

    @property
    def profile(self) -> bytes:
        """The ICC profile, or b"" where there is none or it is incomplete."""
        parts = sorted(self.profile_parts)
        return b"".join(part[14:] for part in parts) if parts and parts[0][13] == len(parts) else b""


def read_segments(data: bytes) -> JpegSegments | None:
    """Return the properties of a JPEG file, or None when it has more than `MAX_SEGMENTS` segments."""
    found = JpegSegments()
    for _ in range(MAX_SEGMENTS):
        start = found.end
        if start + 4 > len(data):
            return found
        marker = data[start + 1]
        if data[start] != 0xFF or marker in (0xDA, 0xD9):
            found.has_common_coding = found.has_common_coding and data[start] == 0xFF
            return found
        if marker == 0xFF:
            found.end += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            found.end += 2
        else:
            found.end += 2 + max(2, int.from_bytes(data[start + 2 : start + 4], "big"))
            _read_segment(found, marker, data[start + 4 : found.end], data)
    return None


def _read_segment(found: JpegSegments, marker: int, body: bytes, data: bytes) -> None:
    if marker in _FRAMES and len(body) >= 6:
        precision, found.height, found.width, found.components = struct.unpack(">BHHB", body[:6])
        found.has_common_coding = found.has_common_coding and marker in _DECODABLE_FRAMES and precision == 8
        # In the coded data every 0xFF is followed by 0, so that counting finds only markers.
        found.num_scans = data.count(b"\xff\xda", found.end) if marker in _PROGRESSIVE else 1
    elif marker == 0xE1 and body[:6] == b"Exif\0\0":
        found.exif_orientations.append(_exif_orientation(body[6:]))
    elif marker == 0xE1 and (xmp := _XMP_ORIENTATION.search(body)):
        found.xmp_orientation = int(xmp[1])
    elif marker == 0xE2 and body[:12] == b"ICC_PROFILE\0" and len(body) > 14:
        found.profile_parts.append(body)
    elif marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
        found.adobe_transform = body[11]


def _exif_orientation(tiff: bytes) -> int | None:
    """Return the orientation in an EXIF block: None where it has none, 0 where the block is invalid."""
    try:
        return next((value if kind == 3 else 0 for tag, kind, value in tiff_tags(tiff) if tag == _ORIENTATION), None)
    except ValueError:
        return 0
