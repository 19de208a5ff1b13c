"""Files and URLs that are read once from their start to their end, and again when reading fails."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from transferkit.images.files import open_regular
from transferkit.sharding.storage import WAITS, filesystem, is_url, with_retries

# Bytes per request, and bytes that are read from a file or from memory at once.
_REQUEST_BYTES, _BUFFER_BYTES = 8 << 20, 1 << 20
Item = TypeVar("Item")


class StreamError(OSError):
    """A stream could not be read; this does not show that its contents are damaged."""


def open_stream(path: str) -> io.BufferedReader:
    """Open a file or a URL.

    Raises:
        OSError: when it cannot be opened.
    """
    if not is_url(path):
        return io.BufferedReader(_Stream(open_regular(path, max_bytes=None)), _BUFFER_BYTES)
    system, inside = filesystem(path)
    options = {"block_size": _REQUEST_BYTES, "cache_type": "readahead"}
    return io.BufferedReader(_Stream(with_retries(lambda: system.open(inside, "rb", **options))), _BUFFER_BYTES)


def stream_size(stream: io.BufferedReader) -> int:
    """Return the number of bytes of a stream, whose position is then the start."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    return size


def with_restarts(start: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    """Yield the items of an iterator; after a `StreamError` it is created again, without the items that it had yielded.

    Raises:
        StreamError: when several attempts in succession yield nothing more.
    """
    complete, waits = 0, iter(WAITS)
    while True:
        try:
            for item in itertools.islice(start(), complete, None):
                complete, waits = complete + 1, iter(WAITS)
                yield item
            return
        except StreamError:
            wait = next(waits, None)
            if wait is None:
                raise
            time.sleep(wait)


class _Stream(io.RawIOBase):
    """A file whose errors are not those of an archive that is read from it."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except Exception as error:  # Each file system has its own errors of the network
            raise StreamError(f"{type(error).__name__}: {error}") from error
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
