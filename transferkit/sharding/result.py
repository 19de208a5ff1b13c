"""A complete folder of shards: features or predictions in the order of the images."""

from __future__ import annotations

import collections
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_choice, check_int
from transferkit._utils.extras import import_extra
from transferkit._utils.files import atomic_write
from transferkit._utils.parallel import ordered_map
from transferkit.data.dataset import Data
from transferkit.data.labels import check_class_names
from transferkit.data.numbers import TARGETS
from transferkit.data.split_sizes import check_size, check_sizes_leave_images
from transferkit.errors import DataError
from transferkit.sharding.job import Job, read_job
from transferkit.sharding.labeled_features import DataOptions, build_data
from transferkit.sharding.shard_table import (
    FEATURES,
    ShardSummary,
    features_of,
    read_summary,
    read_table,
    require_summary,
)
from transferkit.sharding.storage import Folder

Result = TypeVar("Result")


class Shards:
    """The features or predictions of many images, in Parquet files.

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
        return sum(summary.rows for summary in self.summaries)

    @property
    def files(self) -> list[str]:
        """The paths or URLs of the Parquet files, in the order of the images."""
        return [self._folder.file(self.job.shard_name(number)) for number in range(self.job.num_shards)]

    @property
    def num_errors(self) -> int:
        """Number of images without a result, whose column "error" has the reason."""
        return sum(summary.num_errors for summary in self.summaries)

    @property
    def engines(self) -> dict[str, int]:
        """Number of shards that each engine computed."""
        return dict(collections.Counter(summary.engine for summary in self.summaries))

    @functools.cached_property
    def summaries(self) -> tuple[ShardSummary, ...]:
        """For each shard the number of its rows and of its errors, and the engine."""
        return tuple(ordered_map(self._summary, range(self.job.num_shards)))

    def shard(self, number: int, columns: Sequence[str] | None = None) -> Any:
        """Return the pyarrow.Table of one shard.

        Args:
            number: int >= 0, below the number of `files`.
            columns: names of columns. Defaults to None, all.

        Raises:
            DataError: when the file is damaged or cannot be read.
            ValueError: if there is no such shard or column.
        """
        check_int("number", number, minimum=0)
        if number >= self.job.num_shards:
            raise ValueError(f"`number` must be below the number of shards, {self.job.num_shards}. Received: {number}.")
        for name in columns or ():
            check_choice("columns", name, self.job.columns)
        return self._read(number, lambda: read_table(self._folder.open(self.job.shard_name(number)), columns))

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """Yield a pyarrow.Table for each shard.

        Args:
            columns: names of columns. Defaults to None, all.

        Raises:
            DataError: when a file is damaged or cannot be read.
            ValueError: if there is no such column.
        """
        for number in range(self.job.num_shards):
            yield self.shard(number, columns)

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

    @suggests_arguments
    def to_data(
        self,
        *,
        validation: float | None = None,
        test: float | None = None,
        batch_size: int = 32,
        seed: int = 0,
        class_names: Sequence[str] | None = None,
        target: str = "class",
        progress: bool = True,
    ) -> Data:
        """Return the features as `Data`, on which a `Trainer` trains a head with few rows in memory at a time.

        The classifier must have the backbone that computed the features, frozen. The features are copied once into the
        cache folder, in files whose rows can be read one by one. Rows with an error or without a label are left out,
        and listed in `data.report.skipped`. For a folder, the splits are those of `DatasetBuilder` with the same sizes
        and seed; images with equal features are in the same split.

        Args:
            validation: float in (0, 1), fraction of the images, or int >= 1, their number. Defaults to None, no
                validation split.
            test: as `validation`. Defaults to None.
            batch_size: int >= 1. Defaults to 32.
            seed: int >= 0. Seed of the splits and of the order. Defaults to 0.
            class_names: sequence of str, all labels in their order. Defaults to None, sorted.
            target: "class", or "number" for labels that are numbers. Defaults to "class".
            progress: bool, whether to show a progress bar on a terminal or in a notebook. Defaults to True.

        Returns:
            `Data`, whose splits have stored features in the place of images.

        Raises:
            DataError: when there are no labels, or a class has no training images.
            StorageError: when the copies cannot be written.
            ValueError: if an argument is out of its range, or the shards have predictions.

        Example:

        >>> data = tk.Shards("features/").to_data(validation=0.1, test=0.1)  # doctest: +SKIP
        >>> trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(data.num_classes)))  # doctest: +SKIP
        >>> trainer.fit(data)  # doctest: +SKIP
        """
        check_choice("columns", FEATURES, self.job.columns)
        named = {"test": test, "validation": validation}
        given = {name: check_size(name, size, "or None") for name, size in named.items()}
        check_sizes_leave_images(validation, test)
        options = DataOptions(
            {name: size for name, size in given.items() if size is not None},
            check_int("batch_size", batch_size),
            check_int("seed", seed, minimum=0),
            check_class_names(class_names),
            check_choice("target", target, TARGETS),
            progress,
        )
        return build_data(self, options)

    def _summary(self, number: int) -> ShardSummary:
        name = self.job.shard_name(number)
        end = self._read(number, lambda: read_summary(self._folder.open_end(name)))
        return end or self._read(number, lambda: require_summary(self._folder.open(name)))

    def _read(self, number: int, read: Callable[[], Result]) -> Result:
        try:
            return read()
        except (OSError, ValueError, LookupError, TypeError) as error:  # Damaged files raise errors of many kinds
            raise DataError(
                f"A shard must be readable. Received: {self.files[number]!r} ({type(error).__name__}: {error}). Delete "
                "it where it is damaged, and run the call again that computed it."
            ) from error

    def __repr__(self) -> str:
        return f"Shards({self.path!r}, {self.job.kind} of {len(self):,} images in {self.job.num_shards:,} shards)"
