"""Indexes every kind of source: folders, archives, URLs, tables, lists and TFRecord files."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transferkit._utils.files import cache_home
from transferkit._utils.hashing import sha256_of
from transferkit.data.assignment import partition_by_split
from transferkit.data.index import SPLIT_ALIASES, ImageIndex, index_folder, split_dirs
from transferkit.data.tfrecord import index_tfrecord
from transferkit.datasets.archive import unpack
from transferkit.datasets.download import download
from transferkit.errors import DataError

# Column -> accepted names.
_COLUMNS = {
    "path": ("path", "file", "filename", "image"),
    "label": ("label", "class", "labels"),
    "split": ("split",),
    "group": ("group",),
}
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def index_source(source: Any, name: str, label_separator: str | None) -> tuple[dict[str, ImageIndex], list[str]]:
    """Return the index of a source under "all", or one per split that it defines; and notes on its interpretation.

    `name` is the argument for error messages; a source without images and labels raises a DataError.
    """
    if is_table(source):
        return _by_split(index_table(source, label_separator)), []
    if label_separator is not None:
        raise DataError(
            f"`label_separator` is supported for tables only. Received: {label_separator!r} for `{name}`. Give a CSV "
            "file or a DataFrame, or remove it."
        )
    if isinstance(source, (str, os.PathLike)):
        return _index_path(os.fspath(source), name)
    if isinstance(source, (tuple, list)) and len(source) == 2 and not isinstance(source[0], (str, bytes)):
        return {"all": index_lists(*source)}, []
    raise DataError(
        f"`{name}` must be a folder, an archive or its URL, a CSV file, a DataFrame, a TFRecord file, lists (paths, "
        f"labels), arrays (images, labels) or a tf.data.Dataset. Received: {type(source).__name__}."
    )


def _index_path(path: str, name: str) -> tuple[dict[str, ImageIndex], list[str]]:
    if path.endswith((".tfrecord", ".tfrecords")):
        return _by_split(index_tfrecord(path)), []
    if path.startswith(("http://", "https://")):
        path = os.fspath(download(path))
    notes = []
    if path.casefold().endswith(_ARCHIVES) and os.path.isfile(path):
        notes.append(f"unpacked {os.path.basename(path)!r}")
        path = _unpacked(path)
    inside = split_dirs(path)
    if not inside:
        return {"all": index_folder(path, name)}, notes
    notes.append(f"found {', '.join(f'{folder.name}/ as {split}' for split, folder in inside.items())} inside")
    return {split: index_folder(folder, name) for split, folder in inside.items()}, notes


def _unpacked(archive: str) -> str:
    folder = cache_home() / "unpacked" / sha256_of(archive)[:32]
    if not folder.is_dir():
        unpack(archive, folder)
    # Many archives have a single folder at the top.
    while len(inside := [entry for entry in folder.iterdir() if entry.name != "__MACOSX"]) == 1 and inside[0].is_dir():
        folder = inside[0]
    return os.fspath(folder)


def _by_split(index: ImageIndex) -> dict[str, ImageIndex]:
    return {"all": index} if index.splits is None else partition_by_split(index)


def is_table(source: Any) -> bool:
    """Return whether `source` is the path of a CSV or TSV file, or has columns like a DataFrame."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source).casefold().endswith((".csv", ".tsv"))
    return hasattr(source, "columns") and hasattr(source, "__getitem__")


def index_lists(paths: Sequence[Any], labels: Sequence[Any], root: str | os.PathLike[str] | None = None) -> ImageIndex:
    """Return the index of paths and their labels; a label that is a list means several labels per image.

    Raises:
        DataError: when the lists differ in length or are empty.
    """
    if len(paths) != len(labels) or len(paths) == 0:
        raise DataError(
            "`source` must have as many labels as paths, and at least one. "
            f"Received: {len(paths)} paths and {len(labels)} labels."
        )
    base = os.fspath(Path.cwd() if root is None else root)
    absolute = tuple(os.path.abspath(os.path.join(base, os.fspath(path))) for path in paths)
    return ImageIndex(absolute, _relative_ids(absolute), tuple(_to_label(label) for label in labels)).sorted()


def index_table(source: Any, label_separator: str | None = None) -> ImageIndex:
    """Return the index of a CSV or TSV file, whose paths are relative to its folder, or of a DataFrame.

    Columns are path, label and, optionally, split and group; `label_separator` separates several labels of one image.
    """
    columns, root = _read_csv(source) if isinstance(source, (str, os.PathLike)) else _read_frame(source)
    paths, labels = _column(columns, "path"), _column(columns, "label")
    _check_no_missing(paths, labels)
    if label_separator is not None:
        labels = [[name.strip() for name in str(label).split(label_separator) if name.strip()] for label in labels]
    splits, groups = columns.get("split"), columns.get("group")
    absolute = [os.path.abspath(os.path.join(root, os.fspath(path))) for path in paths]
    return ImageIndex(
        tuple(absolute),
        _relative_ids(absolute),
        tuple(_to_label(label) for label in labels),
        None if splits is None else tuple(_to_split(value) for value in splits),
        None if groups is None else tuple(None if _is_missing(value) else str(value) for value in groups),
    ).sorted()


def _read_csv(path: str | os.PathLike[str]) -> tuple[dict[str, list[Any]], str]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            delimiter = "\t" if os.fspath(path).casefold().endswith(".tsv") else ","
            reader = csv.DictReader(file, delimiter=delimiter)
            rows = list(reader)
            names = list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"`source` must be a readable CSV file. Received: {os.fspath(path)!r} ({error}).") from error
    columns = {name.strip().casefold(): [row[name] for row in rows] for name in names}
    return _canonical_columns(columns), os.fspath(Path(path).parent)


def _read_frame(frame: Any) -> tuple[dict[str, list[Any]], str]:
    columns = {str(name).strip().casefold(): list(frame[name]) for name in frame.columns}
    return _canonical_columns(columns), os.getcwd()


def _canonical_columns(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    found = dict(columns)
    for column, names in _COLUMNS.items():
        for name in names:
            if name in columns:
                found.setdefault(column, columns[name])
    return found


def _column(columns: dict[str, list[Any]], name: str) -> list[Any]:
    if name in columns and len(columns[name]):
        return columns[name]
    received = "an empty column" if name in columns else f"the columns {list(columns)}"
    raise DataError(
        f"`source` must have a column {name!r} with rows. Received: {received}. "
        f"Name it {' or '.join(map(repr, _COLUMNS[name]))}."
    )


def _check_no_missing(paths: list[Any], labels: list[Any]) -> None:
    for number, row in enumerate(zip(paths, labels), 1):
        if any(_is_missing(value) for value in row):
            raise DataError(f"Every row must have a path and a label. Received: {row} in row {number}.")


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and value != value)


def _to_split(value: Any) -> str | None:
    if _is_missing(value):
        return None
    name = str(value).strip().casefold()
    if name not in SPLIT_ALIASES:
        raise DataError(f"The column 'split' must have train, validation or test. Received: {value!r}.")
    return SPLIT_ALIASES[name]


def _to_label(label: Any) -> str | tuple[str, ...]:
    if isinstance(label, (list, tuple, set, frozenset)):
        return tuple(sorted(set(map(str, label))))
    return str(label)


def _relative_ids(paths: Sequence[str]) -> tuple[str, ...]:
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    return tuple(os.path.relpath(path, folder).replace(os.sep, "/") for path in paths)
