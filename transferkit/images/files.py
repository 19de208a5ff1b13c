"""Opening files that may be anything: a pipe, a device, a folder, a link to nothing; so that nothing can hang."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from transferkit.errors import ImageError

# No photograph is larger; what is would take the memory down.
MAX_BYTES = 256 << 20


def open_regular(name: str, *, largest: int | None = MAX_BYTES) -> BinaryIO:
    """Open a regular file of at most `largest` bytes.

    Raises:
        ImageError: when there is no such file, or it may not be read, or is not a file at all.
    """
    try:
        # Opened without blocking, and looked at afterwards: between a look and an opening a file can change.
        handle = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        raise ImageError(name, _open_error_reason(name, error)) from error
    status = os.fstat(handle)
    reason = None
    if not stat.S_ISREG(status.st_mode):
        reason = "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is not a regular file"
    elif largest is not None and status.st_size > largest:
        reason = f"it has {status.st_size:,} bytes, more than {largest:,}"
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


def _open_error_reason(name: str, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "it is a broken link" if os.path.islink(name) else "there is no such file"
    if isinstance(error, PermissionError):
        return "its permissions forbid reading it"
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    return f"it cannot be opened ({getattr(error, 'strerror', None) or error})"
