"""Reports on a folder of images before anything is trained on it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from transferkit._utils.arguments import suggests_arguments
from transferkit.data.analysis import analyze_files
from transferkit.data.assignment import drop_unreadable
from transferkit.data.file_info import inspect_files
from transferkit.data.folders import list_images, split_dirs
from transferkit.data.index import ImageIndex
from transferkit.data.report import DataReport
from transferkit.images.spec import ImageSpec

# Small, so that large JPEG files are decoded at 1/8 of their size: enough to check that they can be decoded.
_SCAN_SPEC = ImageSpec((64, 64))


@suggests_arguments
def scan(folder: str | os.PathLike[str], *, progress: bool = True) -> DataReport:
    """Read every image below a folder and report its contents and problems.

    Results are remembered by path, size and modification time: a second scan of an unchanged folder opens no file.

    Args:
        folder: str or path. Subfolders count as classes, train/ and validation/ or test/ as splits.
        progress: bool. Whether a progress bar is shown when it takes more than 2 seconds. Defaults to True.

    Returns:
        A `DataReport`, for `print`, `to_dict()` or `to_html(path)`.

    Raises:
        DataError: when there is no such folder.

    Example:

    >>> print(scan("images/"))  # doctest: +SKIP
    """
    inside = split_dirs(folder)
    indexes = {name: list_images(path) for name, path in inside.items()} or {"all": list_images(folder)}
    paths = [path for index in indexes.values() for path in index.paths]
    file_info = dict(zip(paths, inspect_files(paths, _SCAN_SPEC, progress=progress)))
    ignored = [row for index in indexes.values() for row in index.ignored]
    skipped: list[tuple[str, str]] = []
    for name, index in indexes.items():
        indexes[name], unreadable = drop_unreadable(index, file_info)
        skipped += unreadable
    fields = analyze_files(indexes, file_info)
    leaks = [_leak_note(group, indexes) for group in fields["duplicates"]]
    notes = [*_split_note(inside), *filter(None, leaks)]
    return DataReport(**fields, skipped=sorted(skipped), ignored=ignored, notes=notes)


def _split_note(inside: Mapping[str, os.PathLike[str]]) -> list[str]:
    named = [f"{os.path.basename(path)}/ as {name}" for name, path in inside.items()]
    return [f"found {', '.join(named)} inside"] if named else []


def _leak_note(group: tuple[str, ...], indexes: Mapping[str, ImageIndex]) -> str:
    names = [name for name, index in indexes.items() if not set(group).isdisjoint(index.paths)]
    return f"leak: {group[0]!r} has duplicates in {' and '.join(names)}" if len(names) > 1 else ""
