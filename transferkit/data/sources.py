"""The other ways of naming images: tables of paths and labels, and lists of both."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transferkit.data.index import Index
from transferkit.errors import DataError

__all__ = ["index_lists", "index_table", "is_table"]

_COLUMNS = {"path": ("path", "file", "filename", "image"), "label": ("label", "class", "labels")}


def is_table(source: Any) -> bool:
    """Return whether `source` is a CSV file's path or has columns, as a DataFrame has."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source).casefold().endswith((".csv", ".tsv"))
    return hasattr(source, "columns") and hasattr(source, "__getitem__")


def index_lists(paths: Sequence[Any], labels: Sequence[Any], root: str | os.PathLike[str] | None = None) -> Index:
    """Return the index of paths and their labels; a label that is a list means several labels an image.

    Raises:
        DataError: when the lists differ in length or are empty.
    """
    if len(paths) != len(labels) or len(paths) == 0:
        raise DataError(
            "`source` must be as many labels as paths, and at least one. "
            f"Received: {len(paths)} paths and {len(labels)} labels."
        )
    base = Path.cwd() if root is None else Path(root)
    absolute = tuple(os.path.abspath(base / os.fspath(path)) for path in paths)
    return Index(absolute, _relative_names(absolute), tuple(_label(label) for label in labels))


def index_table(source: Any, label_separator: str | None = None) -> Index:
    """Return the index of a table with the columns path, label and, if there, split and group.

    Paths in a CSV file are relative to the file's folder.

    Args:
        source: path of a CSV (or TSV) file with a header, or a DataFrame.
        label_separator: what stands between several labels of one image, or None when each has one label.

    Raises:
        DataError: when a column is missing or the file cannot be read.
    """
    columns, root = _read_csv(source) if isinstance(source, (str, os.PathLike)) else _read_frame(source)
    paths, labels = _column(columns, "path"), _column(columns, "label")
    if label_separator is not None:
        labels = [str(label).split(label_separator) for label in labels]
    index = index_lists(paths, labels, root)
    splits = None if "split" not in columns else tuple(_split_name(value) for value in columns["split"])
    groups = None if "group" not in columns else tuple(str(value) for value in columns["group"])
    return Index(index.paths, index.names, index.labels, splits, groups)


def _read_csv(path: str | os.PathLike[str]) -> tuple[dict[str, list[Any]], Path]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            delimiter = "\t" if os.fspath(path).casefold().endswith(".tsv") else ","
            reader = csv.DictReader(file, delimiter=delimiter)
            rows = list(reader)
            names = list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"`source` must be a readable CSV file. Received: {os.fspath(path)!r} ({error}).") from error
    return {name.strip().casefold(): [row[name] for row in rows] for name in names}, Path(path).parent


def _read_frame(frame: Any) -> tuple[dict[str, list[Any]], None]:
    return {str(name).strip().casefold(): list(frame[name]) for name in frame.columns}, None


def _column(columns: dict[str, list[Any]], wanted: str) -> list[Any]:
    for name in _COLUMNS[wanted]:
        if name in columns:
            return columns[name]
    raise DataError(
        f"`source` must have a column {wanted!r}. Received: the columns {list(columns)}. "
        f"Name it {' or '.join(map(repr, _COLUMNS[wanted]))}."
    )


def _split_name(value: Any) -> str | None:
    name = str(value).strip().casefold()
    known = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "test": "test"}
    known["validation"] = "validation"
    if name in ("", "nan", "none"):
        return None
    if name not in known:
        raise DataError(f"The column 'split' must hold train, validation or test. Received: {value!r}.")
    return known[name]


def _label(label: Any) -> str | tuple[str, ...]:
    if isinstance(label, (list, tuple, set, frozenset)):
        return tuple(sorted(map(str, label)))
    return str(label)


def _relative_names(paths: Sequence[str]) -> tuple[str, ...]:
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    return tuple(os.path.relpath(path, folder).replace(os.sep, "/") for path in paths)
