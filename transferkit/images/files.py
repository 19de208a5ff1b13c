"""Reads the bytes of an image: from a regular file, from a record of a TFRecord file, or given directly."""

from __future__ import annotations

import os
import re
import stat
import struct
from typing import Any, BinaryIO

from transferkit.errors import ImageError

# Larger files are refused: decoding them could exhaust the memory.
MAX_BYTES = 256 << 20
_RECORD_PATH = re.compile(r"(?s)(.+\.tfrecords?)@(\d+)")
# The header of a record: 8 bytes of length and 4 of its checksum.
RECORD_HEADER_BYTES = 12


def read_bytes(path_or_bytes: Any) -> tuple[str, bytes]:
    """Return (name, contents) of a path or bytes.

    Raises:
        ImageError: when the file is missing, empty, too large or not a regular file.
    """
    if isinstance(path_or_bytes, (bytes, bytearray, memoryview)):
        name, data = "<bytes>", bytes(path_or_bytes)
    else:
        name = os.fsdecode(path_or_bytes)
        record = parse_record_path(name) if ".tfrecord" in name and not os.path.exists(name) else None
        try:
            if record is not None:
                data = _read_record(name, *record)
            else:
                with open_regular(name) as file:
                    data = file.read()
        except OSError as error:
            raise ImageError(name, f"it cannot be read ({error.strerror})") from error
    if not data:
        raise ImageError(name, "it is empty")
    return name, data


def open_regular(name: str, *, max_bytes: int | None = MAX_BYTES) -> BinaryIO:
    """Open a regular file of at most `max_bytes` bytes; pipes, devices and folders are refused without blocking.

    Raises:
        ImageError: when the file is missing, not readable, too large or not a regular file.
    """
    try:
        # Opened without blocking and checked afterwards: a file could change between a check and opening it.
        handle = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        raise ImageError(name, _open_error_reason(name, error)) from error
    status = os.fstat(handle)
    reason = None
    if not stat.S_ISREG(status.st_mode):
        reason = "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is not a regular file"
    elif max_bytes is not None and status.st_size > max_bytes:
        reason = f"it has {status.st_size:,} bytes, more than {max_bytes:,}"
    if reason is not None:
        os.close(handle)
        raise ImageError(name, reason)
    return open(handle, "rb")


def read_prefix(name: str, count: int = 64) -> bytes:
    """Return the first `count` bytes of a file, or none when it cannot be read."""
    try:
        with open_regular(name) as file:
            return file.read(count)
    except (ImageError, OSError):
        return b""


def parse_record_path(name: str) -> tuple[str, int] | None:
    """Return (file, offset) of the path of a TFRecord record, or None for any other path.

    >>> parse_record_path("images.tfrecord@1234")
    ('images.tfrecord', 1234)
    """
    found = _RECORD_PATH.fullmatch(name)
    return (found[1], int(found[2])) if found else None


def parse_example(record: bytes, keys: tuple[str, ...]) -> dict[str, list[bytes]]:
    """Return the bytes features of a serialized `tf.train.Example` by name, for those of `keys` that it has.

    Raises:
        ValueError: when the record is damaged.
    """
    import tensorflow as tf

    try:
        features = tf.train.Example.FromString(record).features.feature
    except Exception as error:
        # The class of this error depends on the installed protobuf.
        raise ValueError("a record is damaged") from error
    return {key: list(features[key].bytes_list.value) for key in keys if key in features}


def _read_record(name: str, path: str, offset: int) -> bytes:
    with open_regular(path, max_bytes=None) as file:
        file.seek(offset)
        header = file.read(RECORD_HEADER_BYTES)
        length = struct.unpack("<Q", header[:8])[0] if len(header) == RECORD_HEADER_BYTES else 0
        record = file.read(length) if 0 < length <= os.fstat(file.fileno()).st_size else b""
    try:
        return parse_example(record, ("image/encoded",))["image/encoded"][0]
    except (KeyError, IndexError, ValueError) as error:
        raise ImageError(name, "there is no such record") from error


def _open_error_reason(name: str, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "it is a broken link" if os.path.islink(name) else "there is no such file"
    if isinstance(error, PermissionError):
        return "its permissions forbid reading it"
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    return f"it cannot be opened ({getattr(error, 'strerror', None) or error})"
