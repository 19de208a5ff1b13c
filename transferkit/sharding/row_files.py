"""Copies of shards in files whose features can be read row by row, which those of Parquet cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transferkit._utils.cache_limit import evict, hold
from transferkit._utils.files import atomic_write, cache_home
from transferkit.data.stored_features import row_digests
from transferkit.errors import StorageError
from transferkit.features.shard_io import ShardArray, write_array
from transferkit.features.store import FeatureArray
from transferkit.sharding.shard_table import ERROR, FEATURES, features_of, read_table, table_bytes

_ROWS, _DIGESTS, _COLUMNS = "features.npy", "digests.npy", "columns.parquet"
# The columns next to the features.
COLUMNS = ("path", "label", ERROR)


class RowFiles:
    """The features of the shards of one job, in the cache folder.

    Args:
        name: of the folder, which differs for other features.
    """

    def __init__(self, name: str) -> None:
        self._folder: Path = cache_home() / "shards" / name
        self._lock = hold(self._folder)
        self._parts: list[ShardArray] = []
        self._digests: list[np.ndarray] = []

    def add(self, number: int, open_shard: Callable[[int], Any]) -> None:
        """Open the copy of a shard, or copy it from what `open_shard` returns, a path or file object.

        Raises:
            StorageError: when the copy cannot be written; copies that are complete are kept.
        """
        try:
            part, digests = self._open(number)
        except (OSError, ValueError):
            # There is none, or it is damaged.
            self._copy(number, read_table(open_shard(number), [*COLUMNS, FEATURES]))
            part, digests = self._open(number)
        self._parts.append(part)
        self._digests.append(digests)

    def columns(self, number: int, names: Sequence[str]) -> list[list[Any]]:
        """Return the values of some of `COLUMNS` of a shard that was added."""
        table = read_table(str(self._path(number, _COLUMNS)), names)
        return [table.column(name).to_pylist() for name in names]

    def rows(self, selected: np.ndarray) -> tuple[FeatureArray, np.ndarray]:
        """Return selected rows of all shards, in which they are numbered one after another, and their digests."""
        evict(keep={self._folder})
        starts = np.cumsum([0, *map(len, self._parts)])[:-1]
        return FeatureArray(self._parts, starts, selected, self._lock), np.concatenate(self._digests)[selected]

    def _copy(self, number: int, table: Any) -> None:
        features = features_of(table)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._path(number, _COLUMNS)) as temporary:
                temporary.write_bytes(table_bytes(table.select(COLUMNS)))
            write_array(self._path(number, _DIGESTS), row_digests(features))
            # The last one, so that a shard with it is complete.
            write_array(self._path(number, _ROWS), features)
        except OSError as error:
            raise StorageError(
                error.errno,
                f"{str(self._folder)!r} must be writable, because the features are copied there once. Received: "
                f"{error.strerror}. Free disk space, or set TRANSFERKIT_HOME to another disk.",
            ) from error

    def _open(self, number: int) -> tuple[ShardArray, np.ndarray]:
        digests = np.load(self._path(number, _DIGESTS), allow_pickle=False)
        part = ShardArray(self._path(number, _ROWS))
        if not self._path(number, _COLUMNS).exists():
            raise ValueError("its columns are missing")
        if digests.shape != (len(part),) or digests.dtype != np.uint64:
            raise ValueError("the numbers of rows and digests differ")
        return part, digests

    def _path(self, number: int, kind: str) -> Path:
        return self._folder / f"{number:06d}.{kind}"
