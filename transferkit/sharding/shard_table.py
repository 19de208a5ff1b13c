"""One shard as a Parquet file: a row per image, and how it was computed in the metadata."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transferkit._utils.extras import import_extra
from transferkit._utils.hashing import content_hash

PATH, FEATURES, ERROR = "path", "features", "error"
_ENGINE, _ERRORS, _DIGEST = b"transferkit.engine", b"transferkit.errors", b"transferkit.digest"


def join_columns(parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the columns of a shard from those of its parts, of which there is at least one."""
    return {
        name: np.concatenate([part[name] for part in parts])
        if name == FEATURES
        else [value for part in parts for value in part[name]]
        for name in parts[0]
    }


def write_table(columns: Mapping[str, Any], *, engine: str, num_errors: int) -> bytes:
    """Return the contents of a Parquet file.

    Args:
        columns: lists of values or, for features, a float32 array (n, size).
        engine: name of the engine that computed them.
        num_errors: number of rows with an error.
    """
    pyarrow = _pyarrow("pyarrow")
    arrays = {name: _column(pyarrow, name, values, columns[ERROR]) for name, values in columns.items()}
    table = pyarrow.table(arrays)
    digest = content_hash(table_bytes(table)).hex()
    metadata = {_ENGINE: engine.encode(), _ERRORS: str(num_errors).encode(), _DIGEST: digest.encode()}
    return table_bytes(table.replace_schema_metadata(metadata))


def table_bytes(table: Any) -> bytes:
    """Return the contents of a Parquet file of a pyarrow.Table."""
    buffer = io.BytesIO()
    # Features are random digits, which no compression makes smaller.
    compression = {name: "none" if name == FEATURES else "zstd" for name in table.column_names}
    _pyarrow("pyarrow.parquet").write_table(table, buffer, use_dictionary=False, compression=compression)
    return buffer.getvalue()


@dataclasses.dataclass(frozen=True)
class ShardSummary:
    """The contents of a shard in numbers, from the description at the end of its file.

    Attributes:
        rows: number of images.
        engine: that computed them.
        num_errors: number of rows with an error.
        digest: hexadecimal digits, equal for equal contents.
    """

    rows: int
    engine: str
    num_errors: int
    digest: str


def read_table(source: Any, columns: Sequence[str] | None = None) -> Any:
    """Return the pyarrow.Table of a file, given as path or file object."""
    with _pyarrow("pyarrow.parquet").ParquetFile(source) as file:
        return file.read(columns=None if columns is None else list(columns))


def read_summary(source: Any) -> ShardSummary | None:
    """Return the summary of a file, given as path or by its last bytes; None where these are too few."""
    with contextlib.suppress(_pyarrow("pyarrow").ArrowInvalid):
        return require_summary(source)
    return None


def require_summary(source: Any) -> ShardSummary:
    """Return the summary of a file, given as path or file object."""
    footer = _pyarrow("pyarrow.parquet").read_metadata(source)
    engine, errors, digest = (footer.metadata[name].decode() for name in (_ENGINE, _ERRORS, _DIGEST))
    return ShardSummary(footer.num_rows, engine, int(errors), digest)


def features_of(table: Any) -> np.ndarray:
    """Return float32 (n, size), NaN in rows with an error."""
    column = table.column(FEATURES).combine_chunks()
    flat = column.flatten() if not column.null_count else column.fill_null([np.nan] * column.type.list_size).flatten()
    return flat.to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)


def _column(pyarrow: Any, name: str, values: Any, errors: Sequence[str | None]) -> Any:
    if name == FEATURES:
        mask = pyarrow.array([error is not None for error in errors])
        flat = pyarrow.array(np.ascontiguousarray(values, np.float32).reshape(-1))
        return pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=mask)
    texts = {"path", "label", "true_label", ERROR}
    if name in texts:
        return pyarrow.array([_storable(value) for value in values], pyarrow.string())
    if name == "label_set":
        return pyarrow.array(values, pyarrow.list_(pyarrow.string()))
    if name in ("is_certain", "in_distribution"):
        return pyarrow.array(values, pyarrow.bool_())
    return pyarrow.array(values, pyarrow.float32())


def _storable(text: str | None) -> str | None:
    """Return text that Parquet can store: names of files that are not Unicode are escaped."""
    return None if text is None else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _pyarrow(module: str) -> Any:
    return import_extra(module, "A folder of shards", "pyarrow", "tables")
