"""What frozen models gave for images, on disk, found by what went into it.

A store is a folder of shards for one computation (model, pixels, precision, augmented draw). A shard is one array file
for each output and one file of keys; the keys are written last, so a shard without them is none. Rows are found by the
digest of an image's contents, whoever computed them, in whatever order.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import uuid
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transferkit._storage import atomic_path, home

__all__ = ["FeatureStore", "StoredArray", "limit_bytes", "root"]

_KEY_BYTES = 32
LIMIT_VARIABLE = "TRANSFERKIT_CACHE_LIMIT"
_DEFAULT_LIMIT = 20 * 10**9


def root() -> Path:
    """Return the folder of all stores."""
    return home() / "features"


def limit_bytes() -> int:
    """Return how much all stores together may take: $TRANSFERKIT_CACHE_LIMIT in bytes, or 20 GB."""
    return int(float(os.environ.get(LIMIT_VARIABLE) or _DEFAULT_LIMIT))


class StoredArray:
    """Rows of one output, read from the shards when they are asked for; `numpy.asarray` gives them all.

    Attributes:
        shape: (n, ...).
        dtype: of the numbers.
    """

    def __init__(self, parts: Sequence[np.ndarray], places: np.ndarray) -> None:
        self._parts, self._places = parts, places
        self.shape = (len(places), *parts[0].shape[1:])
        self.dtype = parts[0].dtype

    def __len__(self) -> int:
        return len(self._places)

    @property
    def nbytes(self) -> int:
        """Size of all rows in bytes."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __getitem__(self, rows: Any) -> np.ndarray:
        places = self._places[rows]
        if places.ndim == 1:
            return self._parts[places[0]][places[1]]
        result = np.empty((len(places), *self.shape[1:]), self.dtype)
        for part in np.unique(places[:, 0]):
            mine = places[:, 0] == part
            result[mine] = self._parts[part][places[mine, 1]]
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        result = self[np.arange(len(self))]
        return result if dtype is None else result.astype(dtype)


class FeatureStore:
    """The rows of one computation.

    Args:
        identity: what is computed, in hexadecimal; it names the folder.

    Any number of processes may read and add at once: a shard appears whole under a name of its own, and two that
    computed the same row have merely both done so.
    """

    def __init__(self, identity: str) -> None:
        self.folder = root() / identity
        self._parts: list[tuple[np.ndarray, ...]] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        self._seen: set[str] = set()

    def refresh(self) -> None:
        """Take notice of all shards that are there by now."""
        for path in sorted(self.folder.glob("*.keys")):
            if path.name not in self._seen:
                self._seen.add(path.name)
                self._open(path)
        with contextlib.suppress(OSError):
            os.utime(self.folder)

    def missing(self, keys: Sequence[bytes]) -> list[int]:
        """Return the places in `keys` of those that have no row yet, each key once."""
        asked: dict[bytes, int] = {}
        for place, key in enumerate(keys):
            if key not in self._places:
                asked.setdefault(key, place)
        return list(asked.values())

    def add(self, keys: Sequence[bytes], arrays: Sequence[np.ndarray]) -> None:
        """Write one shard: the rows of `keys`, one array for each output."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4().hex
        sums = []
        for number, array in enumerate(arrays):
            with atomic_path(self.folder / f"{name}.{number}.npy") as path:
                with open(path, "wb") as file:
                    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
                sums.append(_checksum(path))
        header = json.dumps({"outputs": len(arrays), "sums": sums}).encode() + b"\n"
        with atomic_path(self.folder / f"{name}.keys") as path:
            path.write_bytes(header + b"".join(keys))

    def rows(self, keys: Sequence[bytes]) -> tuple[StoredArray, ...]:
        """Return the rows of `keys`, in their order, one array for each output; every key must be there."""
        places = np.array([self._places[key] for key in keys], np.int64).reshape(-1, 2)
        return tuple(StoredArray([part[n] for part in self._parts], places) for n in range(len(self._parts[0])))

    def _open(self, path: Path) -> None:
        try:
            keys, arrays = _read_shard(path)
        except (OSError, ValueError, KeyError) as error:
            print(f"transferkit: stored features in {path} are broken ({error}); computing them again", file=sys.stderr)
            _remove_shard(path)
            return
        number = len(self._parts)
        self._parts.append(arrays)
        for row, key in enumerate(keys):
            self._places.setdefault(key, (number, row))


def make_room(keep: Path) -> None:
    """Remove the stores that were not used for longest, until all fit the limit; never `keep`."""
    stores = [path for path in root().glob("*") if path.is_dir()]
    sizes = {path: _size(path) for path in stores}
    for path in sorted(stores, key=_used):
        if sum(sizes.values()) <= limit_bytes():
            return
        if path != keep:
            shutil.rmtree(path, ignore_errors=True)
            sizes.pop(path)


def _read_shard(path: Path) -> tuple[list[bytes], tuple[np.ndarray, ...]]:
    header, _, body = path.read_bytes().partition(b"\n")
    described = json.loads(header)
    if len(body) % _KEY_BYTES:
        raise ValueError("its keys are cut short")
    keys = [body[start : start + _KEY_BYTES] for start in range(0, len(body), _KEY_BYTES)]
    arrays = []
    for number, wanted in enumerate(described["sums"]):
        file = path.with_name(f"{path.stem}.{number}.npy")
        if _checksum(file) != wanted:
            raise ValueError("its checksum differs")
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        if len(array) != len(keys):
            raise ValueError("it has another number of rows than keys")
        arrays.append(array)
    return keys, tuple(arrays)


def _remove_shard(path: Path) -> None:
    for file in [path, *path.parent.glob(f"{path.stem}.*.npy")]:
        with contextlib.suppress(OSError):
            file.unlink()


def _checksum(path: Path) -> int:
    value = 0
    with open(path, "rb") as file:
        while chunk := file.read(1 << 22):
            value = zlib.crc32(chunk, value)
    return value


def _size(folder: Path) -> int:
    return sum(_file_size(path) for path in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from (path for path in folder.rglob("*") if path.is_file())


def _file_size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _used(folder: Path) -> float:
    with contextlib.suppress(OSError):
        return folder.stat().st_mtime
    return 0.0
