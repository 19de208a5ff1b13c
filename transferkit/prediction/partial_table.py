"""A table that is written row by row, and continued after an interruption."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from transferkit._utils.files import atomic_write, read_json, storage_errors
from transferkit.prediction.table_formats import TableFormat

if TYPE_CHECKING:
    from typing_extensions import Self


class PartialTable:
    """The rows that were written so far, and the classifier and engines that computed them, in two files.

    Attributes:
        rows: int, number of rows.
        errors: int, number of rows with an error.
    """

    def __init__(self, target: Path, file_format: TableFormat, columns: Sequence[str], identity: str) -> None:
        self.rows: int = 0
        self.errors: int = 0
        self._target, self._format, self._columns, self._identity = target, file_format, columns, identity
        self._header = file_format.header(columns)
        self._path = target.with_name(f"{target.name}.partial")
        self._state_path = target.with_name(f"{target.name}.partial.json")
        self._file: BinaryIO | None = None

    def stored_engines(self) -> list[str] | None:
        """Return the engines of the rows that were written before, or None where there are none to continue."""
        state = read_json(self._state_path)
        engines = state.get("engines")
        is_valid = isinstance(engines, list) and all(isinstance(name, str) for name in engines)
        return engines if state.get("identity") == self._identity and is_valid else None

    def start(self, engines: list[str]) -> None:
        """Begin a new table, whose rows are computed by these engines."""
        with storage_errors(self._path):
            self._target.parent.mkdir(parents=True, exist_ok=True)
            # Before the state, which must not describe the rows of another table.
            self._path.unlink(missing_ok=True)
        with atomic_write(self._state_path) as temporary:
            temporary.write_text(json.dumps({"identity": self._identity, "engines": engines}), encoding="utf-8")
        self.rows = self.errors = 0

    def stored_paths(self) -> Iterator[str]:
        """Yield the path of each complete row that was written before."""
        for row in self._stored_rows():
            yield row.path

    def keep(self, rows: int) -> None:
        """Keep this number of the rows that were written before, and delete the others."""
        kept = list(itertools.islice(self._stored_rows(), rows))
        self.rows, self.errors = len(kept), sum(row.has_error for row in kept)
        if self._path.exists():
            with storage_errors(self._path):
                os.truncate(self._path, len(self._header) + sum(row.size for row in kept) if kept else 0)

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows."""
        assert self._file is not None
        with storage_errors(self._path, self._path):
            self._file.write(b"".join(self._format.write(row, self._columns) for row in rows))
            self._file.flush()
        self.rows += len(rows)
        self.errors += sum(row["error"] is not None for row in rows)

    def complete(self) -> None:
        """Give the table its final name."""
        if self._format.convert is not None:
            self._format.convert(self._path, self._target, self._columns)
            self._path.unlink()
        else:
            with storage_errors(self._target):
                os.replace(self._path, self._target)
        with contextlib.suppress(OSError):
            self._state_path.unlink()

    def _stored_rows(self) -> Iterator[Any]:
        if self.stored_engines() is None or not self._path.is_file():
            return
        with open(self._path, "rb") as file:
            if file.read(len(self._header)) == self._header:
                yield from self._format.read(file, self._columns)

    def __enter__(self) -> Self:
        with storage_errors(self._path):
            self._file = open(self._path, "ab")
            if self._file.tell() == 0:
                self._file.write(self._header)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        assert self._file is not None
        with storage_errors(self._path, self._path), self._file:
            if kind is None:
                self._file.flush()
                # A power failure must not leave the final name without the rows.
                os.fsync(self._file.fileno())
