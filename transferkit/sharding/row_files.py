"""Copies of the features of shards in files whose rows can be read one by one, which those of Parquet cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from transferkit._utils.cache_limit import evict, hold
from transferkit._utils.files import cache_home
from transferkit.data.stored_features import row_digests
from transferkit.errors import StorageError
from transferkit.features.shard_io import ShardArray, write_array
from transferkit.features.store import FeatureArray
from transferkit.sharding.shard_table import FEATURES, features_of, read_table

_ROWS, _DIGESTS = "features.npy", "digests.npy"


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

    def add(self, number: int, source: Any) -> None:
        """Open the copy of a shard, or copy it from its Parquet file, given as path or file object.

        Raises:
            StorageError: when the copy cannot be written; copies that are complete are kept.
        """
        try:
            part, digests = self._open(number)
        except (OSError, ValueError):
            # There is none, or it is damaged.
            self._copy(number, features_of(read_table(source, [FEATURES])))
            part, digests = self._open(number)
        self._parts.append(part)
        self._digests.append(digests)

    def rows(self, selected: np.ndarray) -> tuple[FeatureArray, np.ndarray]:
        """Return selected rows of all shards, in which they are numbered one after another, and their digests."""
        evict(keep={self._folder})
        starts = np.cumsum([0, *map(len, self._parts)])[:-1]
        return FeatureArray(self._parts, starts, selected, self._lock), np.concatenate(self._digests)[selected]

    def _copy(self, number: int, features: np.ndarray) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_array(self._path(number, _DIGESTS), row_digests(features))
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
        if digests.shape != (len(part), 2) or digests.dtype != np.uint64:
            raise ValueError("the numbers of rows and digests differ")
        return part, digests

    def _path(self, number: int, kind: str) -> Path:
        return self._folder / f"{number:06d}.{kind}"
