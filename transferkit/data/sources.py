"""Indexes every kind of source: folders, archives, URLs, tables, lists and TFRecord files."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import unicodedata
from collections.abc import Sequence, Sized
from typing import Any

from transferkit.data.assignment import partition_by_split
from transferkit.data.cells import from_one_hot, is_missing, similar_names, split_name, to_group, to_label
from transferkit.data.folders import index_folder, other_entries, split_dirs
from transferkit.data.index import EXTENSIONS, ImageIndex
from transferkit.data.numbers import parse_numbers
from transferkit.data.record_sources import index_record_splits, index_records
from transferkit.data.records import are_splits, is_random_access, listed_files
from transferkit.data.table_options import TableOptions, missing_column
from transferkit.data.tables import Table, is_table, read_table, repeated_rows, table_of_lists
from transferkit.data.tfrecord import index_tfrecord
from transferkit.data.weights import parse_weights
from transferkit.datasets.archive import content_root, is_archive
from transferkit.datasets.download import download
from transferkit.datasets.unpacked import unpacked
from transferkit.errors import DataError

Found = tuple[dict[str, ImageIndex], list[str]]
_DEFAULT = TableOptions()


def index_source(
    source: Any,
    name: str,
    options: TableOptions = _DEFAULT,
    class_names: Sequence[str] | None = None,
) -> Found:
    """Return the index of a source under "all", or one per split that it defines; and notes on its interpretation.

    `name` is the argument for error messages; a source without images and labels raises a DataError. `class_names` are
    the names of class indices. Labels that are numbers must be those of tables and lists.
    """
    if options.numbers and not (is_table(source) or _are_lists(source)):
        raise DataError(
            f"`{name}` must be a table, lists (paths, numbers) or arrays (images, numbers) for target='number'. "
            f"Received: {type(source).__name__}. Write paths and numbers to a CSV file."
        )
    found, notes = _index(source, name, options, class_names)
    return found, notes + similar_names({label for index in found.values() for label in index.class_names()})


def _index(
    source: Any,
    name: str,
    options: TableOptions,
    class_names: Sequence[str] | None,
) -> Found:
    label_separator = options.label_separator
    if label_separator is not None and (not isinstance(label_separator, str) or not label_separator):
        raise ValueError(
            f"`label_separator` must be a text, such as '|', or None. Received: {label_separator!r}. Change it."
        )
    if is_table(source):
        return _from_table(_read_table(source, name, options), options)
    _refuse_table_options(source, name, options)
    if isinstance(source, (str, os.PathLike)):
        return _index_path(os.fspath(source), name)
    if _are_lists(source):
        return _from_table(table_of_lists(source, name), options)
    if is_random_access(source):
        if (files := listed_files(source)) is not None:
            return _from_table(table_of_lists(files, name), options)
        return {"all": index_records(source, name, class_names)}, []
    if are_splits(source):
        return index_record_splits(source, name, class_names)
    raise DataError(
        f"`{name}` must be a folder, an archive or its URL, a CSV or Parquet file, a DataFrame, a TFRecord file, lists "
        "(paths, labels) or (paths, labels, weights), arrays (images, labels) or (images, labels, weights), a data set "
        "of Hugging Face, torchvision, TFDS or Grain whose items are found by number, or a tf.data.Dataset. Received: "
        f"{type(source).__name__}."
    )


def _refuse_table_options(source: Any, name: str, options: TableOptions) -> None:
    for option, value in options.for_tables_only(name).items():
        if value is not None:
            raise DataError(
                f"`{option}` is supported for tables only. Received: {value!r} for `{name}`. Give a CSV file or a "
                "DataFrame, or remove it."
            )


def _are_lists(source: Any) -> bool:
    return isinstance(source, (tuple, list)) and len(source) in (2, 3) and all(map(_is_list, source))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sized) and not isinstance(value, (str, bytes, set, dict))


def _index_path(path: str, name: str) -> Found:
    if path.endswith((".tfrecord", ".tfrecords")):
        return _by_split(index_tfrecord(path)), []
    if path.startswith(("http://", "https://")):
        path = os.fspath(download(path))
    notes: list[str] = []
    shown = path
    if os.path.isfile(path) and is_archive(path):
        notes.append(f"unpacked {os.path.basename(path)!r}")
        path = os.fspath(content_root(unpacked(path)))
    inside = split_dirs(path, name)
    if not inside:
        index = index_folder(path, name, shown)
        if index.splits is not None:
            notes.append(f"found folders of the splits {sorted(set(map(str, index.splits)))} in every class")
        return _by_split(index), notes
    notes.append(f"found {', '.join(f'{folder.name}/ as {split}' for split, folder in inside.items())} inside")
    found = {split: index_folder(folder, name) for split, folder in inside.items()}
    first = next(iter(found))
    ignored = (*found[first].ignored, *other_entries(path, inside.values()))
    return {**found, first: dataclasses.replace(found[first], ignored=ignored)}, notes


def _by_split(index: ImageIndex) -> dict[str, ImageIndex]:
    return {"all": index} if index.splits is None else partition_by_split(index)


def _read_table(source: Any, name: str, options: TableOptions) -> Table:
    table, weight_column = read_table(source, name, options), options.weight_column
    if weight_column is None or "weight" in table.columns:
        return table
    if name == "source":
        raise missing_column("weight_column", weight_column, table.name, table.header)
    note = f"{table.name} has no column {weight_column!r}, so its images have the weight 1"
    return dataclasses.replace(table, notes=(*table.notes, note))


def _from_table(table: Table, options: TableOptions) -> Found:
    """Return the index of a table, whose relative paths are relative to its folder."""
    paths, notes = _resolve_paths(table)
    if "weight" in table.columns:
        place = functools.partial(table.place, column=options.weight_column or "weight")
        weights = list(parse_weights(table.columns["weight"], place))
        table = dataclasses.replace(table, columns={**table.columns, "weight": weights})
    # The same file can be written in several ways.
    repeated = repeated_rows([paths, *(cells for name, cells in table.columns.items() if name != "path")])
    rows = [row for row in range(len(table.lines)) if row not in repeated]
    columns = {name: [cells[row] for row in rows] for name, cells in table.columns.items()}
    table = dataclasses.replace(table, columns=columns, lines=[table.lines[row] for row in rows])
    if repeated:
        notes.append(f"left out {len(repeated)} rows of {table.name} that are equal to an earlier one")
    splits, groups = columns.get("split"), columns.get("group")
    index = ImageIndex(
        tuple(paths[row] for row in rows),
        tuple(_sample_id(paths[row], os.fspath(columns["path"][number])) for number, row in enumerate(rows)),
        _numbers(table) if options.numbers else tuple(_labels(table, options.label_separator)),
        None if splits is None else tuple(_to_split(table, row) for row in range(len(rows))),
        None if groups is None else tuple(map(to_group, groups)),
        from_table=True,
        weights=tuple(columns["weight"]) if "weight" in columns else None,
        numbers=options.numbers,
    )
    return _by_split(index.sorted()), [*table.notes, *notes]


def _numbers(table: Table) -> tuple[str, ...]:
    return parse_numbers(table.columns["label"], functools.partial(table.place, column="label"))


def _labels(table: Table, separator: str | None) -> list[str | tuple[str, ...]]:
    labels = from_one_hot(table.columns["label"])
    if separator is not None:
        labels = [[name for name in str(label).split(separator) if name.strip()] for label in labels]
    found = []
    for row, label in enumerate(labels):
        try:
            found.append(to_label(label))
        except DataError as error:
            raise DataError(f"{error} It is {table.place(row, 'label')}.") from None
    return found


def _to_split(table: Table, row: int) -> str | None:
    value = table.columns["split"][row]
    if is_missing(value):
        return None
    split = split_name(str(value))
    if split is None:
        raise DataError(
            "The column 'split' must have train, validation or test. Received: "
            f"{value!r} as {table.place(row, 'split')}."
        )
    return split


def _resolve_paths(table: Table) -> tuple[list[str], list[str]]:
    """Return the absolute path of each row, and notes on how they were found."""
    given = [os.fspath(path).strip() for path in table.columns["path"]]
    for row, path in enumerate(given):
        if re.match(r"(?i)[a-z][a-z0-9+.-]+://", path):
            raise DataError(
                f"A path must be that of a file. Received: the URL {path[:80]!r} as {table.place(row, 'path')}. "
                "Download the images first."
            )
    roots = [table.root, os.path.dirname(table.root), os.getcwd()]
    for root in dict.fromkeys(roots):
        paths = [_existing(os.path.abspath(os.path.join(root, path))) for path in given]
        if any(map(os.path.exists, paths)):
            return paths, [] if root == table.root else [f"the paths of {table.name} are relative to {root!r}"]
    raise DataError(
        f"Relative paths of a table are relative to its folder, {table.root!r}. Received: {given[0]!r} as "
        f"{table.place(0, 'path')}, and no path of an existing file in {len(given)} rows. Move the table, or write "
        "absolute paths."
    )


def _existing(path: str) -> str:
    """Return `path`, or, where it does not exist, the one file that it means.

    It may have "\\" for "/", no extension, or letters with accents in another of the forms that Unicode has.
    """
    if os.path.exists(path):
        return path
    candidates = [path.replace("\\", "/")] if "\\" in path else []
    candidates += [other for form in ("NFC", "NFD") if (other := unicodedata.normalize(form, path)) != path]
    if os.path.splitext(path)[1].casefold() not in EXTENSIONS:
        candidates += [base + extension for base in (path, *candidates) for extension in EXTENSIONS]
    found = [candidate for candidate in candidates if os.path.isfile(candidate)]
    return found[0] if len(found) == 1 else path


def _sample_id(path: str, given: str) -> str:
    # Paths relative to their common folder would all change with one row from another folder. A bare name in the table
    # does not depend on the name of the folder, which may be that of a copy.
    is_bare = not os.path.dirname(os.path.normpath(given.strip().replace("\\", "/")))
    return "/".join(path.replace(os.sep, "/").rsplit("/", 2)[-1 if is_bare else -2 :])
