"""The images of a job, in a fixed order: from a folder, a list, or a table, local or at a URL."""

from __future__ import annotations

import dataclasses
import io
import os
import posixpath
from collections.abc import Sequence
from typing import Any

from transferkit._utils.extras import import_extra
from transferkit._utils.hashing import fingerprint
from transferkit.data.folders import list_images
from transferkit.data.index import EXTENSIONS
from transferkit.errors import DataError
from transferkit.sharding.storage import is_url, list_files, read_file

_TABLES = (".csv", ".parquet")
_PATH, _LABEL = "path", "label"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The images of a job.

    Attributes:
        paths: local paths or URLs, in the order of the rows.
        labels: one per image, None for an image without; or None where no image has one.
    """

    paths: tuple[str, ...]
    labels: tuple[str | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def fingerprint(self) -> str:
        """Return digits that differ for other images, labels, or another order."""
        return fingerprint(self.paths, self.labels)

    def rows(self, start: int, stop: int) -> Manifest:
        """Return a part of the rows."""
        return Manifest(self.paths[start:stop], None if self.labels is None else self.labels[start:stop])


def read_manifest(source: Any) -> Manifest:
    """Return the images of a folder, a .csv or .parquet table with the columns "path" and "label", or a list of paths.

    Images in subfolders of a folder have the name of the first subfolder as label. Relative paths in a table start at
    its folder. There may be no images.

    Raises:
        DataError: when the source is none of these, or the table has no paths.
        MissingExtraError: when a package that the source requires is not installed.
    """
    if isinstance(source, (str, os.PathLike)):
        text = os.fspath(source)
        return _from_table(text) if text.lower().endswith(_TABLES) else _from_folder(text)
    if isinstance(source, Sequence) and all(isinstance(path, (str, os.PathLike)) for path in source):
        return Manifest(tuple(map(absolute, source)))
    raise DataError(
        "`source` must be a folder, a .csv or .parquet table, or a list of paths. Received: "
        f"{type(source).__name__}. Give, for example, 's3://bucket/photos' or 'photos.csv'."
    )


def _from_folder(folder: str) -> Manifest:
    if not is_url(folder):
        index = list_images(folder, "source")
        labels = tuple(str(label) or None for label in index.labels)
        return Manifest(index.paths, labels if any(labels) else None)
    found = [file for file in list_files(folder) if posixpath.splitext(file.name)[1].lower() in EXTENSIONS]
    labels = tuple(file.name.partition("/")[0] if "/" in file.name else None for file in found)
    return Manifest(tuple(file.url for file in found), labels if any(labels) else None)


def _from_table(path: str) -> Manifest:
    if not is_url(path) and not os.path.isfile(path):
        raise DataError(f"`source` must be a table or a folder. Received: {path!r}: there is no such file.")
    table = _read_table(path)
    if _PATH not in table.column_names:
        raise DataError(
            f"The table {path!r} must have a column 'path'. Received: the columns {table.column_names}. Rename one."
        )
    names = table.column(_PATH).to_pylist()
    missing = next((row for row, name in enumerate(names, 1) if not name), None)
    if missing is not None:
        raise DataError(f"Each row of {path!r} must have a path. Received: none in row {missing}. Remove the row.")
    labels = table.column(_LABEL).to_pylist() if _LABEL in table.column_names else None
    folder = path.rpartition("/")[0] if is_url(path) else os.path.dirname(os.path.abspath(path))
    return Manifest(
        tuple(_inside(folder, name) for name in names),
        None if labels is None else tuple(None if label in (None, "") else str(label) for label in labels),
    )


def _read_table(path: str) -> Any:
    feature = f"The table {path!r}"
    pyarrow = import_extra("pyarrow", feature, "pyarrow", "tables")
    data = io.BytesIO(read_file(path))
    try:
        if path.lower().endswith(".parquet"):
            return import_extra("pyarrow.parquet", feature, "pyarrow", "tables").read_table(data)
        csv = import_extra("pyarrow.csv", feature, "pyarrow", "tables")
        # Labels such as 007 are text.
        text = csv.ConvertOptions(column_types={_PATH: pyarrow.string(), _LABEL: pyarrow.string()})
        return csv.read_csv(data, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=text)
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{feature} must be readable. Received: {error}. Save it again.") from error


def _inside(folder: str, name: str) -> str:
    if is_url(name) or os.path.isabs(name):
        return name
    return posixpath.join(folder, name) if is_url(folder) else os.path.join(folder, name)


def absolute(path: str | os.PathLike[str]) -> str:
    """Return the absolute path, or the same URL."""
    return os.fspath(path) if is_url(path) else os.path.abspath(os.fspath(path))
