"""Reads and writes one shard of features on disk: an array file per output, and a file of keys.

The keys are written last, so a shard without them is incomplete. Rows are read by position and not through a memory
map, whose pages would count as memory of this process and grow with the number of images.
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
from typing import Any, BinaryIO

import numpy as np

from transferkit._utils.files import atomic_write, parse_json

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None  # type: ignore[assignment]

KEY_BYTES = 32
_CHUNK = 4 << 20
# How long a verified checksum is trusted while the version of the file is unchanged.
_TRUSTED_SECONDS = 7 * 24 * 3600
# A writer takes seconds from the first file of a shard to its keys; older files belong to a killed one.
_STALE_SECONDS = 3600


class ShardArray:
    """The rows of one output in one shard; the open file can be read even after it was deleted.

    Attributes:
        shape: (n, ...).
        dtype: of the values.
        file_version: size, times of modification and of change, and inode of the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - it stays open
        _allow_more_files(self._file.fileno())
        self._lock = threading.Lock()
        status = os.fstat(self._file.fileno())
        self.file_version: list[int] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        shape, fortran, dtype = _read_header(self._file)
        self.shape: tuple[int, ...] = shape
        self.dtype: np.dtype[Any] = dtype
        self._start = self._file.tell()
        self._row_bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        if fortran or status.st_size != self._start + len(self) * self._row_bytes:
            raise ValueError("its size does not match its header")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        buffer = found.reshape(-1).view(np.uint8).data
        # Adjacent rows are read at once.
        breaks = (np.flatnonzero(np.diff(rows) != 1) + 1).tolist()
        size = self._row_bytes
        for first, last in zip([0, *breaks], [*breaks, len(rows)]):
            self._read(buffer[first * size : last * size], self._start + int(rows[first]) * size)
        return found

    def checksum(self) -> int:
        """Return the CRC-32 of the whole file."""
        value, offset, buffer = 0, 0, memoryview(bytearray(_CHUNK))
        while offset < self.file_version[0]:
            part = buffer[: min(_CHUNK, self.file_version[0] - offset)]
            self._read(part, offset)
            value, offset = zlib.crc32(part, value), offset + len(part)
        return value

    def _read(self, buffer: memoryview, offset: int) -> None:
        while len(buffer):
            if hasattr(os, "preadv"):
                count = os.preadv(self._file.fileno(), [buffer], offset)
            else:
                with self._lock:
                    self._file.seek(offset)
                    count = self._file.readinto(buffer) or 0
            if not count:
                raise OSError(f"{self._file.name} must not be truncated. Received: its end at byte {offset}.")
            buffer, offset = buffer[count:], offset + count


def write_shard(folder: Path, keys: Sequence[bytes], arrays: Sequence[np.ndarray], *, name: str | None = None) -> Path:
    """Write the rows of `keys`, one array per output, under a unique name or under `name`; return the file of keys.

    Raises:
        OSError: when it cannot be written, as on a full disk; nothing of the shard remains.
    """
    path = folder / f"{name or uuid.uuid4().hex}.keys"
    body = b"".join(keys)
    try:
        sums = [_write_array(_array_path(path, number), array) for number, array in enumerate(arrays)]
        # Files written a moment ago need no verification.
        _remember_verified(path, [ShardArray(_array_path(path, number)).file_version for number in range(len(arrays))])
        with atomic_write(path) as temporary:
            header = json.dumps({"sums": sums, "keys": _checksum_of_keys(sums, body)})
            temporary.write_bytes(header.encode() + b"\n" + body)
    except OSError:
        remove_shard(path)
        raise
    return path


def open_shard(path: Path) -> tuple[list[bytes], tuple[ShardArray, ...]]:
    """Return the keys and the verified rows of a shard, given its file of keys.

    Raises FileNotFoundError when it was deleted; ValueError, LookupError, TypeError or OverflowError when it is
    damaged; OSError when it cannot be read now.
    """
    header, _, body = path.read_bytes().partition(b"\n")
    described = parse_json(header)
    if _checksum_of_keys(described["sums"], body) != described["keys"] or len(body) % KEY_BYTES:
        raise ValueError("the checksum of its keys differs")
    keys = [body[start : start + KEY_BYTES] for start in range(0, len(body), KEY_BYTES)]
    outputs = tuple(ShardArray(_array_path(path, number)) for number in range(len(described["sums"])))
    if any(len(output) != len(keys) for output in outputs):
        raise ValueError("the numbers of rows and keys differ")
    versions = [output.file_version for output in outputs]
    if versions != _last_verified(path):
        if [output.checksum() for output in outputs] != described["sums"]:
            raise ValueError("its checksum differs")
        _remember_verified(path, versions)
    return keys, outputs


def remove_shard(path: Path) -> None:
    """Delete a shard, its keys first, so that an interrupted deletion leaves no incomplete shard."""
    for file in [path, *path.parent.glob(f"{path.stem}.*")]:
        with contextlib.suppress(OSError):
            file.unlink()


def remove_stale(folder: Path) -> None:
    """Delete files that killed writers left in a folder of shards."""
    with contextlib.suppress(OSError):
        files = list(folder.iterdir())
        complete = {path.stem for path in files if path.suffix == ".keys"}
        for path in files:
            is_stale = path.suffix == ".partial" or (
                path.suffix in (".npy", ".checked") and path.name[:32] not in complete
            )
            if is_stale and time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()


def _allow_more_files(handle: int) -> None:
    """Raise the limit of open files before a store with very many shards reaches it."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if handle > soft // 2:
        most = 2 * soft if hard == resource.RLIM_INFINITY else min(2 * soft, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _array_path(path: Path, output: int) -> Path:
    return path.with_name(f"{path.stem}.{output}.npy")


def _read_header(file: BinaryIO | io.FileIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("another version")
        return np.lib.format.read_array_header_1_0(file)
    except OSError:
        raise
    except Exception as error:
        # NumPy's parser raises many kinds of errors, even those of its tokenizer.
        raise ValueError(f"its header cannot be read: {error}") from error


def _write_array(path: Path, array: np.ndarray) -> int:
    array = np.ascontiguousarray(array)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    values = array.reshape(-1).view(np.uint8).data
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        file.write(header.getvalue())
        file.write(values)
    return zlib.crc32(values, zlib.crc32(header.getvalue()))


def _checksum_of_keys(sums: list[int], keys: bytes) -> int:
    # With the sums, whose number is that of the outputs.
    return zlib.crc32(keys, zlib.crc32(json.dumps(sums).encode()))


def _last_verified(path: Path) -> list[list[int]] | None:
    """Return the versions of the array files whose checksums were verified recently, or None."""
    note = path.with_suffix(".checked")
    try:
        fresh = time.time() - note.stat().st_mtime < _TRUSTED_SECONDS
        return parse_json(note.read_bytes()) if fresh else None
    except (OSError, ValueError):
        return None


def _remember_verified(path: Path, versions: list[list[int]]) -> None:
    # In a read-only folder the checksums are computed each time.
    with contextlib.suppress(OSError), atomic_write(path.with_suffix(".checked")) as temporary:
        temporary.write_bytes(json.dumps(versions).encode())
