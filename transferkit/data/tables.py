"""Reads tables of images and labels: CSV files with any usual delimiter, Parquet files, DataFrames and lists."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from transferkit._utils.text import printable
from transferkit.data.cells import is_missing
from transferkit.data.table_options import TableOptions, missing_column
from transferkit.datasets.address import public_url
from transferkit.errors import DataError, ImageError, MissingExtraError
from transferkit.images.files import open_regular, read_bytes

# Column -> accepted names, in the order of preference; in names of files "-" and " " count as "_".
_COLUMNS = {
    "path": (
        *("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "image_file"),
        *("image_name", "img", "img_path", "image_id", "id"),
    ),
    "label": ("label", "labels", "class", "class_name", "classname", "category", "target", "tag", "tags"),
    "split": ("split",),
    "group": ("group",),
}
_OPTIONAL = ("split", "group", "weight")
# Names of other tools for a column of splits.
_LIKE_SPLIT = ("splits", "set", "subset", "dataset", "data_set", "partition", "fold", "phase", "usage")
# A column of such a name can hold the weights of animals, so it is used only if `weight_column` names it.
_LIKE_WEIGHT = ("weight", "weights", "sample_weight", "sample_weights")
_DELIMITERS = (",", ";", "\t", "|")
_TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
_PARQUET_SUFFIXES = (".parquet", ".pq")
_SPREADSHEET_SUFFIXES = (".xlsx", ".xls", ".ods")
_DEFAULT = TableOptions()
_LINE_END = re.compile("\r\n|\r|\n")
_ENCODINGS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# First bytes of other files that are called .csv.
_OTHER_FILES = {
    b"\x1f\x8b": "a gzip file. Decompress it, or give pandas.read_csv(path, compression='gzip')",
    b"PK\x03\x04": "a zip file, such as a spreadsheet. Unpack it, or save the spreadsheet as CSV",
    b"\xd0\xcf\x11\xe0": "a spreadsheet. Save it as CSV",
    b"PAR1": "a Parquet file. Call it .parquet",
    b"version https://git-lfs": "a pointer of Git LFS. Run: git lfs pull",
}


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of a table.

    Attributes:
        name: of the table in errors.
        root: folder of its relative paths.
        columns: "path" and "label", and where present "split", "group" and "weight", to their cells.
        lines: number of each row, as a spreadsheet or an editor shows it.
        notes: for the report.
        header: the names of all columns of a file or DataFrame.
        label_name: the name of the column of labels, for errors.
    """

    name: str
    root: str
    columns: dict[str, list[Any]]
    lines: Sequence[int]
    notes: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    label_name: str = "label"

    def place(self, row: int, column: str) -> str:
        """Return where a cell is, for errors."""
        column = self.label_name if column == "label" else column
        return f"the column {column!r} in row {self.lines[row]} of {self.name}"


def is_table(source: Any) -> bool:
    """Return whether `source` is the path of a table, or has columns like a DataFrame."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source).casefold().endswith((*_TEXT_SUFFIXES, *_PARQUET_SUFFIXES, *_SPREADSHEET_SUFFIXES))
    return hasattr(source, "columns") and hasattr(source, "__getitem__")


def read_table(source: Any, name: str, options: TableOptions = _DEFAULT) -> Table:
    """Return the columns of a CSV, TSV or Parquet file or of a DataFrame.

    Args:
        source: path or DataFrame.
        name: the argument, for errors.
        options: whose `label_column` is the name of the column "label" of the result, and whose `weight_column` that of
            "weight", which is absent where no column has that name. Defaults to the usual names.

    Raises:
        DataError: when it cannot be read, or a needed column or cell is missing.
        MissingExtraError: for a Parquet file without the packages that read it.
    """
    if not isinstance(source, (str, os.PathLike)):
        return _from_frame(source, f"`{name}`", os.getcwd(), options)
    path = os.fspath(source)
    if path.startswith(("http://", "https://")):
        raise DataError(
            f"`{name}` must be a table on this machine. Received: the URL {public_url(path)!r}. Download it and its "
            "images first, as with tk.datasets.download(url)."
        )
    if path.casefold().endswith(_SPREADSHEET_SUFFIXES):
        raise DataError(
            f"`{name}` must be a CSV or Parquet file or a DataFrame. Received: the spreadsheet {path!r}. Save it as "
            "CSV, or give pandas.read_excel(path)."
        )
    root = os.path.dirname(os.path.abspath(path))
    if path.casefold().endswith(_PARQUET_SUFFIXES):
        return _from_frame(_read_parquet(path, name), repr(os.path.basename(path)), root, options)
    return _read_text(path, name, root, options)


def table_of_lists(lists: Sequence[Sequence[Any]], name: str) -> Table:
    """Return paths, labels and, optionally, weights that are given as lists, as a table.

    Raises:
        DataError: when they differ in length or are empty.
    """
    columns = {column: list(cells) for column, cells in zip(("path", "label", "weight"), lists)}
    rows = len(columns["path"])
    if rows == 0 or any(len(cells) != rows for cells in columns.values()):
        counts = " and ".join(f"{len(cells)} {column}s" for column, cells in columns.items())
        required = "labels as paths" if len(columns) == 2 else "labels and weights as paths"
        raise DataError(f"`{name}` must have as many {required}, and at least one. Received: {counts}.")
    return _checked(Table(f"the lists of `{name}`", os.getcwd(), columns, range(1, rows + 1)))


def _read_parquet(path: str, name: str) -> Any:
    try:
        import pandas

        if os.path.isdir(path):
            # Spark writes a folder of parts.
            return pandas.read_parquet(path)
        with open_regular(path, max_bytes=None) as file:
            return pandas.read_parquet(file)
    except ImportError as error:
        raise MissingExtraError("Reading Parquet files", "pandas and pyarrow", "tables") from error
    except Exception as error:
        # A damaged file makes both packages fail in many ways.
        reason = error.reason if isinstance(error, ImageError) else str(error) or type(error).__name__
        received = f"{path!r} ({printable(reason)[:200]})"
        raise DataError(f"`{name}` must be a readable Parquet file. Received: {received}. Write it again.") from error


def _from_frame(frame: Any, name: str, root: str, options: TableOptions) -> Table:
    if hasattr(frame, "to_pandas"):
        frame = frame.to_pandas()
    columns = [str(column) for column in frame.columns]
    try:
        positions = _choose_columns(columns, name, options)
        chosen = {key: list(frame[frame.columns[at]]) for key, at in positions.items()}
    except UnicodeDecodeError as error:
        raise DataError(f"The texts of {name} must be in UTF-8. Received: {error}. Write the table again.") from error
    lines = range(1, len(chosen["path"]) + 1)
    return _checked(Table(name, root, chosen, lines, _notes(columns, positions), tuple(columns), _label_name(options)))


def _read_text(path: str, name: str, root: str, options: TableOptions) -> Table:
    text = _decode(path, name)
    shown = repr(os.path.basename(path))
    start = 0
    # Spreadsheets name the delimiter in the first line.
    if text[:4].casefold() == "sep=":
        start, text = 1, (_LINE_END.split(text, 1) + [""])[1]
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=_find_delimiter(text, options), strict=True, skipinitialspace=True
    )
    rows: list[tuple[int, list[str]]] = []
    line = 0
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((start + line + 1, row))
            line = reader.line_num
    except csv.Error as error:
        raise DataError(
            f"`{name}` must be a table with complete rows. Received: {shown}, whose row {start + line + 1} has an "
            f"error ({error}). Check its quotation marks."
        ) from error
    header = [cell.strip() for cell in rows[0][1]] if rows else []
    chosen = _choose_columns(header, shown, options)
    body = rows[1:]
    _check_widths(body, len(header), shown)
    columns = {key: [row[at] if at < len(row) else "" for _, row in body] for key, at in chosen.items()}
    lines, notes = [number for number, _ in body], _notes(header, chosen)
    return _checked(Table(shown, root, columns, lines, notes, tuple(header), _label_name(options)))


def _label_name(options: TableOptions) -> str:
    return options.label_column or "label"


def _decode(path: str, name: str) -> str:
    try:
        _, content = read_bytes(path)
    except ImageError as error:
        raise DataError(f"`{name}` must be a readable table. Received: {path!r}: {error.reason}.") from error
    if kind := next((kind for start, kind in _OTHER_FILES.items() if content.startswith(start)), None):
        raise DataError(f"`{name}` must be a table in text form. Received: {path!r}, {kind}.")
    encoding = next((found for mark, found in _ENCODINGS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
        if text[:100].count("\0") > 20:
            raise UnicodeDecodeError(encoding, content, 0, 1, "UTF-16 or UTF-32 without a byte order mark")
        return text
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"`{name}` must be a table in UTF-8. Received: {path!r}, with other bytes in row {line}. Save it as "
            '"CSV UTF-8", or read it with pandas.read_csv(path, encoding=...).'
        ) from error


def _find_delimiter(text: str, options: TableOptions) -> str:
    """Return the delimiter that gives the header the columns that are needed."""
    header = next((line for line in _LINE_END.split(text) if line.strip()), "")
    accepted = _accepted(options)

    def known(delimiter: str) -> int:
        cells = {_normalized(cell.strip(' "')) for cell in header.split(delimiter)}
        return sum(any(name in cells for name in accepted[column]) for column in ("path", "label"))

    return max(_DELIMITERS, key=known)


def _normalized(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def _choose_columns(header: Sequence[str], table: str, options: TableOptions) -> dict[str, int]:
    """Return column -> its position in the header."""
    names = [_normalized(name) for name in header]
    chosen = {}
    for column, accepted in _accepted(options).items():
        name = next((name for name in accepted if name in names), None)
        if name is None and column == "label" and options.label_column is not None:
            raise missing_column("label_column", options.label_column, table, header)
        if name is None and column not in _OPTIONAL:
            raise DataError(
                f"`source` must have a column {column!r} with rows. Received: {table} with the columns "
                f"{list(header)[:20]}. Name it {' or '.join(map(repr, accepted))}."
            )
        if name is not None and names.count(name) > 1:
            raise DataError(
                f"`source` must have one column {name!r}. Received: {table} with the columns {list(header)[:20]}. "
                "Rename or remove one of them."
            )
        if name is not None:
            chosen[column] = names.index(name)
    for option, column, kind in (("weight_column", "weight", "numbers"), ("label_column", "label", "labels")):
        if column in chosen and list(chosen.values()).count(chosen[column]) > 1:
            raise DataError(
                f"`{option}` must be a column of {kind}. Received: {getattr(options, option)!r}, which {table} has "
                f"for another purpose. Name the column of the {column}s."
            )
    return chosen


def _accepted(options: TableOptions) -> dict[str, tuple[str, ...]]:
    """Return the accepted names of each column."""
    given = {"label": options.label_column, "weight": options.weight_column}
    return {**_COLUMNS, **{column: (_normalized(name),) for column, name in given.items() if name is not None}}


def _notes(header: Sequence[str], chosen: Mapping[str, int]) -> tuple[str, ...]:
    splits = [name for name in header if _normalized(name) in _LIKE_SPLIT and "split" not in chosen]
    weights = [name for name in header if _normalized(name) in _LIKE_WEIGHT and "weight" not in chosen]
    return (
        *(f"the column {name!r} is not used; call it 'split' if it assigns images to splits" for name in splits),
        *(f"the column {name!r} is not used; give weight_column={name!r} if it has sample weights" for name in weights),
    )


def _check_widths(rows: Sequence[tuple[int, list[str]]], width: int, table: str) -> None:
    for number, row in rows:
        if len(row) > width and any(cell.strip() for cell in row[width:]):
            raise DataError(
                f"Every row of {table} must have {width} cells, like its header. Received: {len(row)} in row {number} "
                f"({row[:6]}). Quote cells that have the delimiter in them."
            )


def _checked(table: Table) -> Table:
    """Return the table; every row must have a path and a label, without a line break in a cell."""
    if not len(table.columns["path"]):
        raise DataError(f"`source` must have rows. Received: {table.name} with a header only.")
    for column, cells in table.columns.items():
        for row, cell in enumerate(cells):
            if column not in _OPTIONAL and is_missing(cell):
                raise DataError(
                    f"Every row must have a path and a label. Received: {cell!r} as {table.place(row, column)}. "
                    "Fill it, or remove the row."
                )
            if column == "path" and not isinstance(cell, (str, os.PathLike)):
                place = table.place(row, column)
                raise DataError(
                    f"A path must be a text. Received: {reprlib.repr(cell)[:80]} as {place}. Write the path of a file. "
                    "Images in memory must be one array, or a list of arrays."
                )
            if isinstance(cell, str) and re.search(r"[\0\r\n]", cell):
                raise DataError(
                    f"A cell must be one line. Received: {cell[:40]!r} as {table.place(row, column)}. Check the "
                    "quotation marks around it."
                )
    return table


def repeated_rows(columns: Sequence[Sequence[Any]]) -> set[int]:
    """Return the rows that are equal to an earlier one."""
    seen: set[str] = set()
    repeated = set()
    for row, cells in enumerate(zip(*columns)):
        key = repr(cells)
        if key in seen:
            repeated.add(row)
        seen.add(key)
    return repeated
