"""Reads the first directory of a TIFF structure: of a TIFF file, or of an EXIF block."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_SIZES = {3: 2, 4: 4}
_CODES = {3: "H", 4: "I"}
# As many as the count of a classic TIFF file can express.
_MAX_ENTRIES = 65_535


def tiff_tags(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (tag, type, first value) of each entry; values of other types than SHORT and LONG are 0.

    Raises:
        ValueError: at the first entry that the data do not hold.

    >>> list(tiff_tags(b"II*\\0\\x08\\0\\0\\0" + b"\\1\\0" + b"\\x12\\1\\3\\0\\1\\0\\0\\0\\6\\0\\0\\0"))
    [(274, 3, 6)]
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise ValueError("this is not a TIFF structure")
    is_big = data[2:4] in (b"+\0", b"\0+")
    try:
        if is_big:
            (offset,) = struct.unpack_from(order + "Q", data, 8)
            (count,), start, entry = struct.unpack_from(order + "Q", data, offset), offset + 8, order + "HHQ8s"
        else:
            (offset,) = struct.unpack_from(order + "I", data, 4)
            (count,), start, entry = struct.unpack_from(order + "H", data, offset), offset + 2, order + "HHI4s"
        for number in range(min(count, _MAX_ENTRIES)):
            tag, kind, length, field = struct.unpack_from(entry, data, start + number * struct.calcsize(entry))
            yield tag, kind, _first_value(data, order, kind, length, field)
    except (struct.error, OverflowError) as error:
        raise ValueError("the TIFF structure is truncated") from error


def _first_value(data: bytes, order: str, kind: int, length: int, field: bytes) -> int:
    if kind not in _SIZES or length == 0:
        return 0
    if length * _SIZES[kind] > len(field):
        # Longer lists are stored elsewhere, at the offset in the field.
        (offset,) = struct.unpack(order + ("I" if len(field) == 4 else "Q"), field)
        return struct.unpack_from(order + _CODES[kind], data, offset)[0]
    return struct.unpack_from(order + _CODES[kind], field)[0]
