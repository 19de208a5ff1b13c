"""Formats of tables of predictions: CSV, JSON Lines, and Parquet, which is converted from JSON Lines at the end."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transferkit._utils.checks import did_you_mean
from transferkit._utils.extras import import_extra
from transferkit._utils.files import atomic_write
from transferkit.prediction.rows import csv_row, json_line

_ROWS_PER_GROUP = 8192


class Row(NamedTuple):
    """A row that was written before.

    Attributes:
        path: of the image, "" without one.
        has_error: whether there is no prediction.
        size: number of bytes.
    """

    path: str
    has_error: bool
    size: int


class TableFormat(NamedTuple):
    """How rows are written and read.

    Attributes:
        header: from the columns to the first bytes of the file.
        write: from a row and the columns to bytes.
        read: from the lines of a file after its header, and the columns, to its complete rows.
        convert: from the file of rows to the final file, or None where they are the same.
    """

    header: Callable[[Sequence[str]], bytes]
    write: Callable[[dict[str, Any], Sequence[str]], bytes]
    read: Callable[[Iterable[bytes], Sequence[str]], Iterator[Row]]
    convert: Callable[[Path, Path, Sequence[str]], None] | None


def table_format(path: Path) -> TableFormat:
    """Return the format that the extension of a file names.

    Raises:
        MissingExtraError: for Parquet without pyarrow.
        ValueError: for another extension.
    """
    extension = path.suffix.lower()
    if extension not in _FORMATS:
        hint = did_you_mean(extension, _FORMATS) or "CSV can be read by every program."
        raise ValueError(f"`path` must end in .csv, .jsonl or .parquet. Received: {str(path)!r}. {hint}")
    if extension == ".parquet":
        _pyarrow()
    return _FORMATS[extension]


def _write_csv(row: dict[str, Any], columns: Sequence[str]) -> bytes:
    return csv_row([row.get(name) for name in columns])


def _read_csv(lines: Iterable[bytes], columns: Sequence[str]) -> Iterator[Row]:
    pending = b""
    for line in lines:
        pending += line
        # The name of a file may contain line breaks, which are quoted.
        if not pending.endswith(b"\n") or pending.count(b'"') % 2:
            continue
        text = io.StringIO(pending.decode("utf-8", "surrogateescape"), newline="")
        cells = next(csv.reader(text), [])
        if len(cells) != len(columns):
            return
        row = dict(zip(columns, cells))
        yield Row(row["path"], bool(row["error"]), len(pending))
        pending = b""


def _write_json(row: dict[str, Any], columns: Sequence[str]) -> bytes:
    return json_line({name: row.get(name) for name in columns})


def _read_json(lines: Iterable[bytes], columns: Sequence[str]) -> Iterator[Row]:
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            return
        if not line.endswith(b"\n") or not isinstance(row, dict) or list(row) != list(columns):
            return
        yield Row(row["path"] or "", bool(row["error"]), len(line))


def _to_parquet(rows: Path, target: Path, columns: Sequence[str]) -> None:
    pyarrow, parquet = _pyarrow()
    kinds = {"path": pyarrow.string(), "label": pyarrow.string(), "error": pyarrow.string()}
    kinds |= {"is_certain": pyarrow.bool_(), "in_distribution": pyarrow.bool_()}
    kinds |= {"label_set": pyarrow.list_(pyarrow.string())}
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.float32())) for name in columns])
    with (
        open(rows, "rb") as lines,
        atomic_write(target) as temporary,
        parquet.ParquetWriter(temporary, schema) as writer,
    ):
        # A few rows at a time, so that memory does not grow with the file.
        for group in iter(lambda: list(itertools.islice(lines, _ROWS_PER_GROUP)), []):
            writer.write_table(pyarrow.Table.from_pylist([_storable(json.loads(line)) for line in group], schema))


def _storable(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with text that Parquet can store: names that are not Unicode are escaped."""
    path = row["path"]
    return {**row, "path": None if path is None else path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")}


def _pyarrow() -> tuple[Any, Any]:
    names = "pyarrow", "pyarrow.parquet"
    pyarrow, parquet = (import_extra(name, "predict_to(*.parquet)", "pyarrow", "tables") for name in names)
    return pyarrow, parquet


_FORMATS = {
    ".csv": TableFormat(csv_row, _write_csv, _read_csv, None),
    ".jsonl": TableFormat(lambda columns: b"", _write_json, _read_json, None),
    ".parquet": TableFormat(lambda columns: b"", _write_json, _read_json, _to_parquet),
}
