"""Copies of shards in files whose features can be read row by row, which those of Parquet cannot."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transferkit._utils.cache_limit import evict, hold
from transferkit._utils.files import atomic_write, cache_home
from transferkit._utils.hashing import HASH_BYTES, content_hash
from transferkit.errors import StorageError
from transferkit.features.shard_io import ShardArray, open_shard, write_shard
from transferkit.features.store import FeatureArray
from transferkit.sharding.shard_table import ERROR, features_of, read_table, table_bytes

# The columns next to the features.
COLUMNS = ("path", "label", ERROR)
# A copy that is missing, or damaged in any way.
_UNUSABLE = (OSError, ValueError, LookupError, TypeError, OverflowError)


class RowFiles:
    """The features of the shards of one job, in the cache folder.

    A copy is found by the digest of its shard: the images at the same paths may have changed since another run.

    Args:
        name: of the folder.
    """

    def __init__(self, name: str) -> None:
        self._folder: Path = cache_home() / "shards" / name
        self._lock = hold(self._folder)
        self._opened: list[str] = []
        self._parts: list[ShardArray] = []
        self._digests: list[np.ndarray] = []

    def add(self, digest: str, read: Callable[[], Any]) -> None:
        """Open the copy of the shard with a digest, or copy what `read` returns, its pyarrow.Table.

        Raises:
            StorageError: when the copy cannot be written; copies that are complete are kept.
        """
        try:
            self._open(digest)
        except _UNUSABLE:
            self._copy(digest, read())
            self._open(digest)

    def columns(self, number: int, names: Sequence[str]) -> list[list[Any]]:
        """Return the values of some of `COLUMNS` of the shard that was added as number `number`."""
        table = read_table(io.BytesIO(_verified(self._columns_path(self._opened[number]))), names)
        return [table.column(name).to_pylist() for name in names]

    def rows(self, selected: np.ndarray) -> tuple[FeatureArray, np.ndarray]:
        """Return selected rows of all shards, in which they are numbered one after another, and their digests."""
        evict(keep={self._folder})
        starts = np.cumsum([0, *map(len, self._parts)])[:-1]
        return FeatureArray(self._parts, starts, selected, self._lock), np.concatenate(self._digests)[selected]

    def _open(self, digest: str) -> None:
        _verified(self._columns_path(digest))
        keys, (part,) = open_shard(self._folder / f"{digest}.keys")
        self._opened.append(digest)
        self._parts.append(part)
        # Eight bytes of a hash distinguish the rows of a job in a quarter of the memory.
        self._digests.append(np.frombuffer(b"".join(key[:8] for key in keys), np.uint64))

    def _copy(self, digest: str, table: Any) -> None:
        features = features_of(table)
        contents = table_bytes(table.select(COLUMNS))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._columns_path(digest)) as temporary:
                temporary.write_bytes(content_hash(contents) + contents)
            write_shard(self._folder, [content_hash(row.tobytes()) for row in features], [features], name=digest)
        except OSError as error:
            raise StorageError(
                error.errno,
                f"{str(self._folder)!r} must be writable, because the features are copied there once. Received: "
                f"{error.strerror}. Free disk space, or set TRANSFERKIT_HOME to another disk.",
            ) from error

    def _columns_path(self, digest: str) -> Path:
        return self._folder / f"{digest}.parquet"


def _verified(path: Path) -> bytes:
    """Return the contents of a file of columns.

    Raises:
        OSError: when it cannot be read.
        ValueError: when it is damaged.
    """
    contents = path.read_bytes()
    if contents[:HASH_BYTES] != content_hash(contents[HASH_BYTES:]):
        raise ValueError("its checksum differs")
    return contents[HASH_BYTES:]
