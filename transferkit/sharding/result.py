"""A complete folder of shards: features or predictions in the order of the images."""

from __future__ import annotations

import collections
import functools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from transferkit._utils.checks import check_choice
from transferkit._utils.extras import import_extra
from transferkit._utils.files import atomic_write
from transferkit.errors import DataError
from transferkit.sharding.job import Job, read_job
from transferkit.sharding.shard_table import FEATURES, features_of, read_engine, read_num_rows, read_table
from transferkit.sharding.storage import Folder


class Shards:
    """The features or predictions of many images, in Parquet files; open them with `tk.open_shards`.

    Args:
        path: a local folder or URL.

    Attributes:
        path: str.
        job: fingerprints of the images and the model, number of images, size of the shards.

    Raises:
        DataError: when there are no shards, or some are missing.

    Example:

    >>> shards = tk.Shards("features/")  # doctest: +SKIP
    >>> shards.features().shape, shards.table(["path", "error"]).num_rows  # doctest: +SKIP
    ((12000, 1280), 12000)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._folder = Folder(path)
        self.path: str = self._folder.path
        self.job: Job = read_job(self._folder)
        missing = self.job.missing(self._folder)
        if missing:
            raise DataError(
                f"All {self.job.num_shards} shards must be complete. Received: {self.path!r} without {len(missing)} of "
                f"them, the first of which is {missing[0]}. Run the same call again, which computes these."
            )

    def __len__(self) -> int:
        return self._num_rows

    @property
    def files(self) -> list[str]:
        """The paths or URLs of the Parquet files, in the order of the images."""
        return [self._folder.file(self.job.shard_name(number)) for number in range(self.job.num_shards)]

    @property
    def num_errors(self) -> int:
        """Number of images without a result, whose column "error" has the reason."""
        return sum(errors for _, errors in self._engines)

    @property
    def engines(self) -> dict[str, int]:
        """Number of shards that each engine computed."""
        return dict(collections.Counter(name for name, _ in self._engines))

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """Yield a pyarrow.Table for each shard.

        Args:
            columns: names of columns. Defaults to None, all.

        Raises:
            ValueError: if there is no such column.
        """
        for name in columns or ():
            check_choice("columns", name, self.job.columns)
        for number in range(self.job.num_shards):
            yield read_table(self._folder.read(self.job.shard_name(number)), columns)

    def table(self, columns: Sequence[str] | None = None) -> Any:
        """Return one pyarrow.Table.

        Args:
            columns: names of columns. Defaults to None, all.

        Raises:
            ValueError: if there is no such column.
        """
        pyarrow = import_extra("pyarrow", "Shards.table", "pyarrow", "tables")
        return pyarrow.concat_tables(self.tables(columns))

    def features(self) -> np.ndarray:
        """Return float32 (images, size); images with an error have NaN.

        Raises:
            ValueError: if the shards have predictions.
        """
        check_choice("columns", FEATURES, self.job.columns)
        rows: np.ndarray | None = None
        start = 0
        # Filled part by part: joining in the end would need twice the memory.
        for table in self.tables([FEATURES]):
            part = features_of(table)
            rows = np.empty((len(self), part.shape[1]), np.float32) if rows is None else rows
            rows[start : start + len(part)] = part
            start += len(part)
        assert rows is not None, "a job has images"
        return rows

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write all shards to one Parquet file, with one shard in memory at a time.

        Args:
            path: the file, which is replaced if it exists.
        """
        parquet = import_extra("pyarrow.parquet", "Shards.to_parquet", "pyarrow", "tables")
        with atomic_write(path) as temporary:
            writer = None
            for table in self.tables():
                table = table.replace_schema_metadata(None)
                writer = writer or parquet.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
            assert writer is not None, "a job has shards"
            writer.close()

    @functools.cached_property
    def _num_rows(self) -> int:
        return sum(read_num_rows(self._folder.read(self.job.shard_name(n))) for n in range(self.job.num_shards))

    @functools.cached_property
    def _engines(self) -> list[tuple[str, int]]:
        names = map(self.job.shard_name, range(self.job.num_shards))
        return [read_engine(self._folder.read(name)) for name in names]

    def __repr__(self) -> str:
        return f"Shards({self.path!r}, {self.job.kind} of {len(self):,} images in {self.job.num_shards:,} shards)"
