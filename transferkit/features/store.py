"""Content-addressed on-disk feature store.

A store is a folder of shards for one computation (model, image spec, precision). Rows are found by the content hash of
an image and, for augmented views, of the augmentation, no matter which process computed them or in which order.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from transferkit._utils.cache_limit import cache_limit_bytes, hold
from transferkit._utils.text import printable
from transferkit.errors import StorageError
from transferkit.features.eviction import root
from transferkit.features.shard_io import ShardArray, open_shard, remove_shard, write_shard

_LOG = logging.getLogger("transferkit")
FEATURE_DTYPES = ("float32", "float16")
_FLOAT16_MAX = float(np.finfo(np.float16).max)
# Where the disk cannot be written to, this many bytes are kept in memory instead.
_MAX_MEMORY_BYTES = 1 << 30
_READ_ROWS = 1024
_WRITE_ATTEMPTS = 5


def to_storage_dtype(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return float32 features as `dtype`, "float32" or "float16"; values beyond float16 are clipped with a warning.

    >>> to_storage_dtype(np.array([1.5, -1e6], np.float32), "float16").tolist()
    [1.5, -65504.0]
    """
    if dtype == "float32" or array.dtype != np.float32:
        return array
    beyond = int(np.count_nonzero(np.abs(array) > _FLOAT16_MAX))
    if beyond:
        # Clipped because inf would silently corrupt training, and an error would discard what took long to compute.
        _LOG.warning(
            "%d features of %d exceed float16 and are clipped to %.0f; use feature_dtype='float32' to keep them",
            beyond,
            array.size,
            _FLOAT16_MAX,
        )
        array = np.clip(array, -_FLOAT16_MAX, _FLOAT16_MAX)
    return array.astype(np.float16)


class FeatureArray:
    """Rows of one output, read from shards when they are indexed; `numpy.asarray` reads all.

    Attributes:
        shape: (n, ...).
        dtype: of the values.
    """

    def __init__(
        self,
        parts: Sequence[ShardArray | np.ndarray],
        starts: np.ndarray,
        positions: np.ndarray,
        lock: BinaryIO | None = None,
    ) -> None:
        # The lock keeps the store from being evicted while the array lives.
        self._parts, self._starts, self._positions, self._lock = parts, starts, positions, lock
        self.shape: tuple[int, ...] = (len(positions), *parts[0].shape[1:])
        self.dtype: np.dtype[Any] = parts[0].dtype

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def nbytes(self) -> int:
        """Size of all rows in bytes."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def take(self, rows: np.ndarray) -> FeatureArray:
        """Return some of the rows, which are not read yet."""
        return FeatureArray(self._parts, self._starts, self._positions[rows], self._lock)

    def __getitem__(self, rows: Any) -> np.ndarray:
        positions = self._positions[rows]
        if positions.ndim == 0:
            return self[[rows]][0]
        owners = np.searchsorted(self._starts, positions, side="right") - 1
        if len(owners) and (owners == owners[0]).all():
            return self._parts[owners[0]][positions - self._starts[owners[0]]]
        result = np.empty((len(positions), *self.shape[1:]), self.dtype)
        for owner in np.unique(owners):
            mask = owners == owner
            result[mask] = self._parts[owner][positions[mask] - self._starts[owner]]
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        result = np.empty(self.shape, dtype or self.dtype)
        for start in range(0, len(self), _READ_ROWS):
            result[start : start + _READ_ROWS] = self[start : start + _READ_ROWS]
        return result


class FeatureStore:
    """The rows of one computation, identified by `store_id`, which names the folder.

    Any number of processes may read and add at once: a shard appears complete under a unique name, and a row that two
    of them computed is stored twice. Rows that were found or added stay readable while the store and its arrays live,
    even when another process clears the folder.
    """

    def __init__(self, store_id: str) -> None:
        # A bad limit is refused before features are computed.
        cache_limit_bytes()
        self.folder: Path = root() / store_id
        self._parts: list[Sequence[ShardArray | np.ndarray]] = []
        self._starts = [0]
        self._positions: dict[bytes, int] = {}
        self._seen: set[str] = set()
        self._memory_bytes = 0
        self._lock: BinaryIO | None = None
        self.reload()

    def hold(self) -> None:
        """Keep the store from being evicted while this object or one of its arrays lives."""
        self._lock = self._lock or hold(self.folder)

    def reload(self) -> None:
        """Read the shards that were added since the last call."""
        for path in sorted(self.folder.glob("*.keys")):
            if path.name not in self._seen:
                self._open(path)

    def __contains__(self, key: bytes) -> bool:
        return key in self._positions

    def add(self, keys: Sequence[bytes], arrays: Sequence[np.ndarray]) -> None:
        """Write one shard with the rows of `keys`, one array per output; keep it in memory if it cannot be written.

        Raises:
            StorageError: when it cannot be written and exceeds the memory limit. Shards written before are kept.
        """
        for _ in range(_WRITE_ATTEMPTS):
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                path = write_shard(self.folder, keys, arrays)
                self._append(*open_shard(path))
            except OSError as error:
                if error.errno == errno.ENOENT:
                    # Another process cleared the folder meanwhile.
                    continue
                self._keep_in_memory(keys, arrays, error)
            else:
                self._seen.add(path.name)
            return
        self._keep_in_memory(keys, arrays, FileNotFoundError("it is deleted repeatedly"))

    def rows(self, keys: Sequence[bytes]) -> tuple[FeatureArray, ...]:
        """Return the rows of `keys` in their order, one array per output; every key must be in the store."""
        positions = np.fromiter((self._positions[key] for key in keys), np.int64, len(keys))
        starts, outputs = np.array(self._starts[:-1]), range(len(self._parts[0]))
        return tuple(FeatureArray([part[n] for part in self._parts], starts, positions, self._lock) for n in outputs)

    def _open(self, path: Path) -> None:
        self._seen.add(path.name)
        try:
            self._append(*open_shard(path))
        except FileNotFoundError:
            # Another process is removing the shard, or was killed while it did.
            remove_shard(path)
        except OSError as error:
            _LOG.warning("Cached features in %s cannot be read (%s) and are not used", *map(printable, (path, error)))
        except (ValueError, LookupError, TypeError, OverflowError) as error:
            _LOG.warning("Cached features in %s are damaged (%s); computing them again", *map(printable, (path, error)))
            remove_shard(path)

    def _append(self, keys: Sequence[bytes], outputs: Sequence[ShardArray | np.ndarray]) -> None:
        start = self._starts[-1]
        self._parts.append(outputs)
        self._starts.append(start + len(keys))
        for row, key in enumerate(keys, start):
            self._positions.setdefault(key, row)

    def _keep_in_memory(self, keys: Sequence[bytes], arrays: Sequence[np.ndarray], error: OSError) -> None:
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        reason = cause.strerror or str(cause)
        if not self._memory_bytes:
            _LOG.warning(
                "Features cannot be stored in %s (%s); they are kept in memory for this run", self.folder, reason
            )
        self._memory_bytes += sum(array.nbytes for array in arrays)
        if self._memory_bytes > _MAX_MEMORY_BYTES:
            raise StorageError(
                error.errno or errno.EIO,
                f"{str(self.folder)!r} must be writable. Received: {reason}. Stored features are kept: free disk "
                "space, set TRANSFERKIT_HOME to another disk, or use cache=False.",
            ) from error
        self._append(keys, [np.array(array) for array in arrays])
