"""Reads and removes chunks of a PNG file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from transferkit.images.color_profile import changes_colors, gamma_table

# Real files of 256 MB have fewer chunks; a loop over millions would take many seconds.
MAX_CHUNKS = 100_000
_MAX_PROFILE_BYTES = 4 << 20
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# Texts that state the orientation.
_XMP, _RAW_PROFILE = b"XML:com.adobe.xmp\0", b"Raw profile type"


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start, end) of each chunk, `start` and `end` without length, kind and checksum."""
    offset = 8
    while offset + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        yield kind, offset + 8, offset + 8 + length
        offset += 12 + length


def needs_pillow(kind: bytes, body: bytes, mode: str) -> bool:
    """Return whether TensorFlow would ignore this chunk: transparency, orientation, animation or colors."""
    if kind in (b"tRNS", b"eXIf", b"acTL"):
        return True
    if kind in _TEXTS:
        return b"Orientation" in body or body.startswith((_XMP + b"\1", _RAW_PROFILE))
    if kind == b"gAMA":
        return len(body) == 4 and gamma_table(int.from_bytes(body, "big") / 100_000) is not None
    return kind == b"iCCP" and changes_colors(_inflated(body[body.find(b"\0") + 2 :]), mode)


def without_texts(data: bytes) -> bytes:
    """Return the file without its texts, except those that state the orientation.

    Pillow refuses files with long texts, such as the workflows that image generators store.
    """
    cuts = [
        (start - 8, end + 4)
        for kind, start, end in png_chunks(data)
        if kind in _TEXTS and not data.startswith((_XMP, _RAW_PROFILE), start)
    ]
    if not cuts:
        return data
    starts, ends = zip(*cuts)
    return b"".join(data[start:end] for start, end in zip((0, *ends), (*starts, len(data))))


def _inflated(compressed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(compressed, _MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
