"""One shard of stored rows on disk: an array file for each output, and a file of keys.

The keys are written last, so a shard without them is none. Rows are read from the files by position and not through a
memory map, whose pages would count as this process' memory and grow with the number of images.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import threading
import time
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from transferkit._utils.files import atomic_write

try:
    import resource
except ImportError:  # Windows, where the limit is none to speak of
    resource = None  # type: ignore[assignment]

KEY_BYTES = 32
_CHUNK = 4 << 20
# So long a checksum that was right is believed, while size, time of change and inode of the file stay what they were.
_TRUSTED_SECONDS = 7 * 24 * 3600
# A writer needs seconds between the first file of a shard and its keys; what is older belongs to a killed one.
_LEFTOVER_SECONDS = 3600


class ShardArray:
    """The rows of one output in one shard; the file stays open, so that it can be read even after it was removed.

    Args:
        path: of an array file.

    Attributes:
        shape: (n, ...).
        dtype: of the numbers.
        stamp: size, time of change and inode of the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - it stays open
        _allow_more_files(self._file.fileno())
        self._lock = threading.Lock()
        status = os.fstat(self._file.fileno())
        self.stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
        self.shape, fortran, self.dtype = _read_header(self._file)
        self._start = self._file.tell()
        self._row_bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        if fortran or status.st_size != self._start + len(self) * self._row_bytes:
            raise ValueError("it has another size than its header says")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        buffer = found.reshape(-1).view(np.uint8).data
        # Rows that follow each other are read at once.
        breaks = (np.flatnonzero(np.diff(rows) != 1) + 1).tolist()
        size = self._row_bytes
        for first, last in zip([0, *breaks], [*breaks, len(rows)]):
            self._read(buffer[first * size : last * size], self._start + int(rows[first]) * size)
        return found

    def checksum(self) -> int:
        """Return the CRC-32 of the whole file."""
        value, place, buffer = 0, 0, memoryview(bytearray(_CHUNK))
        while place < self.stamp[0]:
            part = buffer[: min(_CHUNK, self.stamp[0] - place)]
            self._read(part, place)
            value, place = zlib.crc32(part, value), place + len(part)
        return value

    def _read(self, buffer: memoryview, place: int) -> None:
        while len(buffer):
            got = self._read_some(buffer, place)
            if not got:
                raise OSError(f"{self._file.name} must not be cut short. Received: its end at byte {place}.")
            buffer, place = buffer[got:], place + got

    def _read_some(self, buffer: memoryview, place: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [buffer], place)
        with self._lock:
            self._file.seek(place)
            return self._file.readinto(buffer) or 0


def write_shard(folder: Path, keys: Sequence[bytes], arrays: Sequence[np.ndarray]) -> Path:
    """Write the rows of `keys`, one array for each output, under a name of its own; return the file of keys.

    Raises:
        OSError: when that cannot be done, such as on a full disk; nothing of the shard is left then.
    """
    path = folder / f"{uuid.uuid4().hex}.keys"
    body = b"".join(keys)
    try:
        sums = [_write_array(_array_path(path, number), array) for number, array in enumerate(arrays)]
        # What was written a moment ago is not read again to be checked.
        _remember_checked(path, [ShardArray(_array_path(path, number)).stamp for number in range(len(arrays))])
        with atomic_write(path) as temporary:
            temporary.write_bytes(json.dumps({"sums": sums, "keys": zlib.crc32(body)}).encode() + b"\n" + body)
    except OSError:
        remove_shard(path)
        raise
    return path


def open_shard(path: Path) -> tuple[list[bytes], tuple[ShardArray, ...]]:
    """Return the keys and the rows of a shard, once they are known to be what was written.

    Args:
        path: the file of keys.

    Raises:
        FileNotFoundError: when the shard was removed.
        ValueError, KeyError, TypeError: when it is broken.
        OSError: when it cannot be read now.
    """
    header, _, body = path.read_bytes().partition(b"\n")
    described = json.loads(header)
    if zlib.crc32(body) != described["keys"] or len(body) % KEY_BYTES:
        raise ValueError("the checksum of its keys differs")
    keys = [body[start : start + KEY_BYTES] for start in range(0, len(body), KEY_BYTES)]
    outputs = tuple(ShardArray(_array_path(path, number)) for number in range(len(described["sums"])))
    if any(len(output) != len(keys) for output in outputs):
        raise ValueError("it has another number of rows than keys")
    stamps = [output.stamp for output in outputs]
    if stamps != _last_checked(path):
        if [output.checksum() for output in outputs] != described["sums"]:
            raise ValueError("its checksum differs")
        _remember_checked(path, stamps)
    return keys, outputs


def remove_shard(path: Path) -> None:
    """Remove a shard, its keys first: what is left by a process that is killed meanwhile is no shard."""
    for file in [path, *path.parent.glob(f"{path.stem}.*")]:
        with contextlib.suppress(OSError):
            file.unlink()


def remove_stale(folder: Path) -> None:
    """Remove what writers that were killed some time ago left in a folder of shards."""
    with contextlib.suppress(OSError):
        files = list(folder.iterdir())
        whole = {path.stem for path in files if path.suffix == ".keys"}
        for path in files:
            left = path.suffix == ".partial" or (path.suffix in (".npy", ".checked") and path.name[:32] not in whole)
            if left and time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
                path.unlink()


def _allow_more_files(handle: int) -> None:
    """Raise the limit of open files before a store of very many shards comes up against it."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if handle > soft // 2:
        most = 2 * soft if hard == resource.RLIM_INFINITY else min(2 * soft, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _array_path(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.{number}.npy")


def _read_header(file: BinaryIO | io.FileIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("another version")
        return np.lib.format.read_array_header_1_0(file)
    except OSError:
        raise
    except Exception as error:
        # NumPy's parser raises errors of many kinds, its tokenizer's among them.
        raise ValueError(f"its header cannot be read: {error}") from error


def _write_array(path: Path, array: np.ndarray) -> int:
    array = np.ascontiguousarray(array)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    numbers = array.reshape(-1).view(np.uint8).data
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        file.write(header.getvalue())
        file.write(numbers)
    return zlib.crc32(numbers, zlib.crc32(header.getvalue()))


def _last_checked(path: Path) -> list[list[int]] | None:
    """Return the stamps of the array files whose checksums were found right, if that is not too long ago."""
    note = path.with_suffix(".checked")
    try:
        fresh = time.time() - note.stat().st_mtime < _TRUSTED_SECONDS
        return json.loads(note.read_bytes()) if fresh else None
    except (OSError, ValueError):
        return None


def _remember_checked(path: Path, stamps: list[list[int]]) -> None:
    # In a folder that cannot be written to, the checksums are worked out anew each time.
    with contextlib.suppress(OSError), atomic_write(path.with_suffix(".checked")) as temporary:
        temporary.write_bytes(json.dumps(stamps).encode())
