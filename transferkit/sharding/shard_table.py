"""One shard as a Parquet file: a row per image, and how it was computed in the metadata."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transferkit._utils.extras import import_extra

PATH, FEATURES, ERROR = "path", "features", "error"
_ENGINE, _ERRORS = b"transferkit.engine", b"transferkit.errors"


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
    metadata = {_ENGINE: engine.encode(), _ERRORS: str(num_errors).encode()}
    buffer = io.BytesIO()
    # Features are random digits, which no compression makes smaller.
    _pyarrow("pyarrow.parquet").write_table(
        table.replace_schema_metadata(metadata), buffer, use_dictionary=False, compression="zstd"
    )
    return buffer.getvalue()


def read_table(contents: bytes, columns: Sequence[str] | None = None) -> Any:
    """Return the pyarrow.Table of a file."""
    return _pyarrow("pyarrow.parquet").read_table(io.BytesIO(contents), columns=columns)


def read_engine(contents: bytes) -> tuple[str, int]:
    """Return the name of the engine that computed a shard, and the number of rows with an error."""
    metadata = _pyarrow("pyarrow.parquet").read_schema(io.BytesIO(contents)).metadata
    return metadata[_ENGINE].decode(), int(metadata[_ERRORS])


def read_num_rows(contents: bytes) -> int:
    """Return the number of images of a shard."""
    return int(_pyarrow("pyarrow.parquet").read_metadata(io.BytesIO(contents)).num_rows)


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
