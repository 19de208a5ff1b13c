"""A look at a folder of images before anything is trained on it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

from transferkit.data.analysis import analyze_files
from transferkit.data.file_info import inspect_files
from transferkit.data.index import ImageIndex, list_images, split_folders
from transferkit.data.report import DataReport
from transferkit.images.loading import ImageSpec

# Small, so that large photographs are decoded at an eighth of their size: enough to see whether they can be.
_LOOK = ImageSpec((64, 64))


def scan(folder: str | os.PathLike[str], *, progress: bool = True) -> DataReport:
    """Read every image below a folder and report what is there, and what is wrong with it.

    Files are read in parallel, and what was found is remembered by path, size and time of change: a second scan of
    an unchanged folder opens none of them.

    Args:
        folder: any folder; folders inside count as classes, train/ and validation/ or test/ as splits.
        progress: whether a bar is shown when it takes more than a few seconds.

    Returns:
        The report; print it, or take `to_dict()` or `to_html(path)`.

    Raises:
        DataError: when there is no such folder.

    Example:

    >>> print(scan("photos/"))  # doctest: +SKIP
    """
    inside = split_folders(folder)
    indexes = {name: list_images(path) for name, path in inside.items()} or {"all": list_images(folder)}
    paths = [path for index in indexes.values() for path in index.paths]
    facts = dict(zip(paths, inspect_files(paths, _LOOK, progress=progress)))
    skipped = [row for index in indexes.values() for row in index.skipped]
    skipped += [(path, fact.error) for path, fact in facts.items() if fact.error is not None]
    readable = {
        name: index.take([number for number, path in enumerate(index.paths) if facts[path].error is None])
        for name, index in indexes.items()
    }
    report = DataReport(
        **analyze_files(readable, facts),
        skipped=sorted(skipped),
        ignored=[row for index in indexes.values() for row in index.ignored],
    )
    leaks = [_leak(group, readable) for group in report.duplicates]
    return dataclasses.replace(report, notes=[*_found(inside), *filter(None, leaks)])


def _found(inside: Mapping[str, os.PathLike[str]]) -> list[str]:
    named = [f"{os.path.basename(path)}/ as {name}" for name, path in inside.items()]
    return [f"found {', '.join(named)} inside"] if named else []


def _leak(group: tuple[str, ...], indexes: dict[str, ImageIndex]) -> str:
    names = [name for name, index in indexes.items() if not set(group).isdisjoint(index.paths)]
    return f"leak: {group[0]!r} has copies in {' and '.join(names)}" if len(names) > 1 else ""
