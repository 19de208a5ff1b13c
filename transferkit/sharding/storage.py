"""Files in local folders and at URLs of fsspec, such as s3://, gs:// and hdfs://, read and written whole."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from transferkit._utils.extras import import_extra
from transferkit._utils.files import atomic_write
from transferkit.errors import DataError

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
# Most descriptions of tables are smaller.
_END_BYTES = 64 << 10
# Seconds between attempts.
WAITS = (0.2, 0.4, 0.8, 1.6)
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
    system, inside = filesystem(path)
    return with_retries(lambda: system.cat_file(inside))


class FoundFile(NamedTuple):
    """A file at a URL.

    Attributes:
        name: its path inside the folder that was listed.
        url: its URL.
        size: its bytes; None where the file system does not know it.
    """

    name: str
    url: str
    size: int | None


def list_files(folder: str) -> list[FoundFile]:
    """Return all files below a folder at a URL, sorted."""
    system, inside = filesystem(folder)
    start = len(inside.rstrip("/")) + 1
    return _found(system, with_retries(lambda: system.find(inside, detail=True)), start)


def match_files(pattern: str) -> list[FoundFile]:
    """Return the files that a pattern at a URL matches, sorted."""
    system, inside = filesystem(pattern)
    return _found(system, with_retries(lambda: system.glob(inside, detail=True)), 0)


def file_size(path: str) -> int | None:
    """Return the bytes of a file or of a URL, None where the file system does not know it.

    Raises:
        OSError: when it cannot be found.
    """
    if not is_url(path):
        return os.stat(path).st_size
    system, inside = filesystem(path)
    return with_retries(lambda: system.info(inside)).get("size")


def _found(system: Any, files: Mapping[str, Mapping[str, Any]], start: int) -> list[FoundFile]:
    return [
        FoundFile(name[start:], str(system.unstrip_protocol(name)), info.get("size"))
        for name, info in sorted(files.items())
        if info.get("type") != "directory"
    ]


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
        system, inside = filesystem(self.path)

        def listed() -> list[str]:
            # Other processes write there: a listing that was kept would be old.
            system.invalidate_cache()
            try:
                return list(system.ls(inside, detail=False))
            except FileNotFoundError:
                return []

        return {name.rstrip("/").rpartition("/")[2] for name in with_retries(listed)}

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
        system, inside = filesystem(self.file(name))

        def read() -> bytes:
            return system.cat_file(inside, start=max(0, system.size(inside) - _END_BYTES))

        return io.BytesIO(with_retries(read))

    def write(self, name: str, contents: bytes) -> None:
        """Write a file so that it is complete from the moment it appears.

        Raises:
            OSError: when it cannot be written.
        """
        if not is_url(self.path):
            with atomic_write(self.file(name)) as temporary:
                temporary.write_bytes(contents)
            return
        system, inside = filesystem(self.path)
        # One request: object stores show an object when all of it has arrived.
        with_retries(lambda: system.pipe_file(f"{inside}/{name}", contents))

    def file(self, name: str) -> str:
        """Return the path or URL of a file."""
        return f"{self.path}/{name}" if is_url(self.path) else os.path.join(self.path, name)


def filesystem(url: str | os.PathLike[str]) -> tuple[Any, str]:
    """Return the file system of a URL, and the path inside it.

    Raises:
        DataError: when there is none for its protocol.
        MissingExtraError: when fsspec is not installed.
    """
    fsspec = import_extra("fsspec.core", f"A file at {os.fspath(url)!r}", "fsspec", "remote")
    try:
        return fsspec.url_to_fs(os.fspath(url))
    except (ImportError, ValueError) as error:
        raise DataError(
            f"The URL {os.fspath(url)!r} must be of a file system that fsspec supports. Received: {error}. Install the "
            "package of its protocol, such as s3fs for s3://."
        ) from error


def with_retries(request: Callable[[], Result]) -> Result:
    """Return the result of a request, which is repeated when it fails.

    Raises:
        OSError: when it failed for the last time, or would always fail.
    """
    for wait in (*WAITS, None):
        try:
            return request()
        except _FINAL_ERRORS:
            raise
        except Exception as error:  # Each file system has its own errors of the network
            if wait is None:
                raise error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}") from error
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")
