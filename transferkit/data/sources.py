"""The ways of naming images: a folder, an archive, a table of paths and labels, lists of both, records."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transferkit._utils.files import cache_home, sha256_of
from transferkit.data.index import ImageIndex, index_folder, split_folders
from transferkit.errors import DataError

_COLUMNS = {
    "path": ("path", "file", "filename", "image"),
    "label": ("label", "class", "labels"),
    "split": ("split",),
    "group": ("group",),
}
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_SPLIT_NAMES = {"train": "train", "training": "train", "test": "test", "testing": "test"} | dict.fromkeys(
    ("validation", "val", "valid", "dev"), "validation"
)


def index_source(source: Any, name: str, label_separator: str | None) -> tuple[dict[str, ImageIndex], list[str]]:
    """Return the index of a source, under "all", or one for each split that the source itself keeps apart.

    Args:
        source: see `DatasetBuilder`.
        name: what errors call it.
        label_separator: for tables, what stands between several labels of one image, or None.

    Returns:
        The indexes, and sentences that say what was found.

    Raises:
        DataError: when it is nothing of which images and labels can be read.
    """
    if is_table(source):
        return _by_split(index_table(source, label_separator)), []
    if isinstance(source, (str, os.PathLike)):
        return _of_path(os.fspath(source), name)
    if isinstance(source, (tuple, list)) and len(source) == 2 and not isinstance(source[0], (str, bytes)):
        return {"all": index_lists(*source)}, []
    raise DataError(
        f"`{name}` must be a folder, an archive or its address, a CSV file, a DataFrame, records, lists (paths, "
        f"labels), arrays (images, labels) or a tf.data.Dataset. Received: {type(source).__name__}."
    )


def _of_path(path: str, name: str) -> tuple[dict[str, ImageIndex], list[str]]:
    if path.endswith((".tfrecord", ".tfrecords")):
        from transferkit.data.tfrecord import index_tfrecord

        return _by_split(index_tfrecord(path)), []
    if path.startswith(("http://", "https://")):
        from transferkit.datasets.download import download

        path = os.fspath(download(path))
    notes = []
    if path.casefold().endswith(_ARCHIVES) and os.path.isfile(path):
        notes.append(f"unpacked {os.path.basename(path)!r}")
        path = _unpacked(path)
    inside = split_folders(path)
    if not inside:
        return {"all": index_folder(path, name)}, notes
    notes.append(f"found {', '.join(f'{folder.name}/ as {split}' for split, folder in inside.items())} inside")
    return {split: index_folder(folder, name) for split, folder in inside.items()}, notes


def _unpacked(archive: str) -> str:
    from transferkit.datasets.archive import unpack

    folder = cache_home() / "unpacked" / sha256_of(archive)[:32]
    if not folder.is_dir():
        unpack(archive, folder)
    # Many archives hold one folder, and everything in that.
    while len(inside := [entry for entry in folder.iterdir() if entry.name != "__MACOSX"]) == 1 and inside[0].is_dir():
        folder = inside[0]
    return os.fspath(folder)


def _by_split(index: ImageIndex) -> dict[str, ImageIndex]:
    if index.splits is None:
        return {"all": index}
    from transferkit.data.assignment import partition_by_split

    return partition_by_split(index)


def is_table(source: Any) -> bool:
    """Return whether `source` is a CSV file's path or has columns, as a DataFrame has."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source).casefold().endswith((".csv", ".tsv"))
    return hasattr(source, "columns") and hasattr(source, "__getitem__")


def index_lists(paths: Sequence[Any], labels: Sequence[Any], root: str | os.PathLike[str] | None = None) -> ImageIndex:
    """Return the index of paths and their labels; a label that is a list means several labels an image.

    Raises:
        DataError: when the lists differ in length or are empty.
    """
    if len(paths) != len(labels) or len(paths) == 0:
        raise DataError(
            "`source` must be as many labels as paths, and at least one. "
            f"Received: {len(paths)} paths and {len(labels)} labels."
        )
    base = os.fspath(Path.cwd() if root is None else root)
    absolute = tuple(os.path.abspath(os.path.join(base, os.fspath(path))) for path in paths)
    return ImageIndex(absolute, _relative_names(absolute), tuple(_label(label) for label in labels)).sorted()


def index_table(source: Any, label_separator: str | None = None) -> ImageIndex:
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
    _check_no_gaps(paths, labels)
    if label_separator is not None:
        labels = [[name.strip() for name in str(label).split(label_separator) if name.strip()] for label in labels]
    splits, groups = columns.get("split"), columns.get("group")
    absolute = [os.path.abspath(os.path.join(root, os.fspath(path))) for path in paths]
    return ImageIndex(
        tuple(absolute),
        _relative_names(absolute),
        tuple(_label(label) for label in labels),
        None if splits is None else tuple(_split_name(value) for value in splits),
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
    return _canonical_columns({name.strip().casefold(): [row[name] for row in rows] for name in names}), os.fspath(
        Path(path).parent
    )


def _read_frame(frame: Any) -> tuple[dict[str, list[Any]], str]:
    return _canonical_columns({str(name).strip().casefold(): list(frame[name]) for name in frame.columns}), os.getcwd()


def _canonical_columns(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the columns under the names used here."""
    found = dict(columns)
    for wanted, names in _COLUMNS.items():
        for name in names:
            if name in columns:
                found.setdefault(wanted, columns[name])
    return found


def _column(columns: dict[str, list[Any]], wanted: str) -> list[Any]:
    if wanted in columns and len(columns[wanted]):
        return columns[wanted]
    what = "an empty column" if wanted in columns else f"the columns {list(columns)}"
    raise DataError(
        f"`source` must have a column {wanted!r} with rows. Received: {what}. "
        f"Name it {' or '.join(map(repr, _COLUMNS[wanted]))}."
    )


def _check_no_gaps(paths: list[Any], labels: list[Any]) -> None:
    for number, row in enumerate(zip(paths, labels), 1):
        if any(_is_missing(value) for value in row):
            raise DataError(f"Every row must have a path and a label. Received: {row} in row {number}.")


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and value != value)


def _split_name(value: Any) -> str | None:
    if _is_missing(value):
        return None
    name = str(value).strip().casefold()
    if name not in _SPLIT_NAMES:
        raise DataError(f"The column 'split' must hold train, validation or test. Received: {value!r}.")
    return _SPLIT_NAMES[name]


def _label(label: Any) -> str | tuple[str, ...]:
    if isinstance(label, (list, tuple, set, frozenset)):
        return tuple(sorted(set(map(str, label))))
    return str(label)


def _relative_names(paths: Sequence[str]) -> tuple[str, ...]:
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    return tuple(os.path.relpath(path, folder).replace(os.sep, "/") for path in paths)
