"""Files in local folders and at URLs of fsspec, such as s3://, gs:// and hdfs://, read and written whole."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from transferkit._utils.extras import import_extra
from transferkit._utils.files import atomic_write
from transferkit.errors import DataError

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
# Most descriptions of tables are smaller.
_END_BYTES = 64 << 10
_ATTEMPTS, _FIRST_WAIT = 5, 0.2
# Repeating the request does not change these.
_FINAL_ERRORS = (FileNotFoundError, PermissionError, IsADirectoryError)
Result = TypeVar("Result")


def is_url(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a URL.

    >>> is_url("s3://bucket/photos"), is_url("photos/cat.jpg"), is_url("C://photos")
    (True, False, False)
    """
    return _URL.match(os.fspath(path)) is not None


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Return the contents of a file or URL; a request that fails is repeated with longer and longer waits.

    Raises:
        OSError: when it cannot be read.
    """
    if not is_url(path):
        return Path(path).read_bytes()
    system, inside = _filesystem(path)
    return _with_retries(lambda: system.cat_file(inside))


def list_files(folder: str) -> list[tuple[str, str]]:
    """Return (path inside the folder, URL) of all files below a folder at a URL, sorted."""
    system, inside = _filesystem(folder)
    names = sorted(_with_retries(lambda: system.find(inside)))
    start = len(inside.rstrip("/")) + 1
    return [(name[start:], str(system.unstrip_protocol(name))) for name in names]


class Folder:
    """A folder of files that are written once and whole.

    Args:
        path: a local folder, which is created when the first file is written, or a URL.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: str = os.fspath(path).rstrip("/") if is_url(path) else os.path.abspath(os.fspath(path))

    def names(self) -> set[str]:
        """Return the names of the complete files."""
        if not is_url(self.path):
            found = os.listdir(self.path) if os.path.isdir(self.path) else []
            return {name for name in found if not name.startswith(".")}
        system, inside = _filesystem(self.path)

        def listed() -> list[str]:
            # Other processes write there: a listing that was kept would be old.
            system.invalidate_cache()
            try:
                return list(system.ls(inside, detail=False))
            except FileNotFoundError:
                return []

        return {name.rstrip("/").rpartition("/")[2] for name in _with_retries(listed)}

    def read(self, name: str) -> bytes:
        """Return the contents of a file.

        Raises:
            OSError: when it cannot be read.
        """
        return read_file(self.file(name))

    def open(self, name: str) -> str | io.BytesIO:
        """Return the path of a local file, of which a reader of Parquet reads the columns it needs, else the contents.

        Raises:
            OSError: when it cannot be read.
        """
        return io.BytesIO(self.read(name)) if is_url(self.path) else self.file(name)

    def open_end(self, name: str) -> str | io.BytesIO:
        """Return the path of a local file, else its last bytes, which have the description of a table.

        Raises:
            OSError: when it cannot be read.
        """
        if not is_url(self.path):
            return self.file(name)
        system, inside = _filesystem(self.file(name))

        def read() -> bytes:
            return system.cat_file(inside, start=max(0, system.size(inside) - _END_BYTES))

        return io.BytesIO(_with_retries(read))

    def write(self, name: str, contents: bytes) -> None:
        """Write a file so that it is complete from the moment it appears.

        Raises:
            OSError: when it cannot be written.
        """
        if not is_url(self.path):
            with atomic_write(self.file(name)) as temporary:
                temporary.write_bytes(contents)
            return
        system, inside = _filesystem(self.path)
        # One request: object stores show an object when all of it has arrived.
        _with_retries(lambda: system.pipe_file(f"{inside}/{name}", contents))

    def file(self, name: str) -> str:
        """Return the path or URL of a file."""
        return f"{self.path}/{name}" if is_url(self.path) else os.path.join(self.path, name)


def _filesystem(url: str | os.PathLike[str]) -> tuple[Any, str]:
    fsspec = import_extra("fsspec.core", f"A file at {os.fspath(url)!r}", "fsspec", "remote")
    try:
        return fsspec.url_to_fs(os.fspath(url))
    except (ImportError, ValueError) as error:
        raise DataError(
            f"The URL {os.fspath(url)!r} must be of a file system that fsspec supports. Received: {error}. Install the "
            "package of its protocol, such as s3fs for s3://."
        ) from error


def _with_retries(request: Callable[[], Result]) -> Result:
    for attempt in range(_ATTEMPTS):
        try:
            return request()
        except _FINAL_ERRORS:
            raise
        except Exception as error:  # Each file system has its own errors of the network
            if attempt == _ATTEMPTS - 1:
                raise error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}") from error
            time.sleep(_FIRST_WAIT * 2**attempt)
    raise AssertionError("the last attempt returns or raises")
