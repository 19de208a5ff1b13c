"""The archives of a job: one file, a list, a folder, or a pattern, local or at URLs."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from transferkit._utils.files import is_system_name
from transferkit._utils.parallel import ordered_map
from transferkit.errors import DataError
from transferkit.sharding.braces import expand_braces
from transferkit.sharding.manifest import absolute
from transferkit.sharding.storage import file_size, is_url, list_files, match_files

_TAR = re.compile(r"(?i)\.(tar|tar\.gz|tgz)$")
# Also "train.tfrecord-00000-of-00010".
_TFRECORD = re.compile(r"(?i)\.tfrecords?(-\d+-of-\d+)?$")
_PATTERN = re.compile(r"[*?[]")


class Archive(NamedTuple):
    """A file with many images.

    Attributes:
        path: absolute path or URL.
        size: in bytes.
    """

    path: str
    size: int


def is_tfrecord(path: str) -> bool:
    """Return whether a path has the name of a TFRecord file.

    >>> is_tfrecord("train.tfrecord-00000-of-00010"), is_tfrecord("train.tar")
    (True, False)
    """
    return _TFRECORD.search(_name(path)) is not None


def is_archive_name(path: str) -> bool:
    """Return whether a path has the name of an archive.

    >>> is_archive_name("train-000.tar.gz"), is_archive_name("https://host/a.tar?token=1"), is_archive_name("a.jpg")
    (True, True, False)
    """
    return _TAR.search(_name(path)) is not None or is_tfrecord(path)


def named_archives(source: Any) -> list[Archive] | None:
    """Return the archives that a path, a pattern or a list of them names; None where the source is something else.

    Raises:
        DataError: when one is missing, or a list has images too.
    """
    listed = [source] if isinstance(source, (str, os.PathLike)) else source
    if not (isinstance(listed, Sequence) and all(isinstance(path, (str, os.PathLike)) for path in listed)):
        return None
    given: list[str] = [os.fspath(path) for path in listed]
    paths = [path for text in given for path in _expanded(text)]
    named = [is_archive_name(path) and (is_url(path) or not os.path.isdir(path)) for path in paths]
    if not any(named):
        return None
    if not all(named):
        raise DataError(
            "`source` must be a list of images or of archives. Received: both, as "
            f"{paths[named.index(True)]!r} and {paths[named.index(False)]!r}. Compute them separately."
        )
    found = [archive for text in given for archive in _matches(text)]
    if not found:
        raise DataError(f"`source` must name archives. Received: {source!r}, with none. Check the path.")
    return found


def archives_in(folder: str) -> list[Archive]:
    """Return the archives at any depth in a folder or below a URL, sorted.

    Raises:
        DataError: when the size of one is not known.
    """
    if is_url(folder):
        return [_archive(file.url, file.size) for file in list_files(folder) if is_archive_name(file.name)]
    names = sorted(os.path.relpath(path, folder).replace(os.sep, "/") for path in _walk(folder))
    return [_local(os.path.join(folder, name)) for name in names if is_archive_name(name)]


def _name(path: str) -> str:
    # The address of an object with a signature has it after the name.
    return path.partition("?")[0] if _is_web(path) else path


def _is_web(path: str) -> bool:
    return path.lower().startswith(("http://", "https://"))


def _expanded(text: str) -> Iterator[str]:
    """Yield the names that a text with braces has; the name of a file that exists is not a pattern."""
    return iter([text]) if not is_url(text) and os.path.exists(text) else expand_braces(text)


def _matches(text: str) -> Iterator[Archive]:
    paths = list(_expanded(text))
    # One request per file: those of many archives are sent together.
    yield from (archive for found in ordered_map(_find, paths) for archive in found)


def _find(path: str) -> list[Archive]:
    if _PATTERN.search(path) and not _is_web(path) and (is_url(path) or not os.path.exists(path)):
        if is_url(path):
            return [_archive(file.url, file.size) for file in match_files(path)]
        return [_local(name) for name in sorted(glob.glob(path)) if os.path.isfile(name)]
    if not is_url(path):
        return [_local(path)]
    try:
        return [_archive(path, file_size(path))]
    except OSError as error:
        raise DataError(f"`source` must name archives. Received: {path!r} ({error}). Check the path.") from error


def _local(path: str) -> Archive:
    if not os.path.isfile(path):
        raise DataError(f"`source` must name archives. Received: {path!r}: there is no such file. Check the path.")
    return Archive(absolute(path), os.stat(path).st_size)


def _archive(url: str, size: int | None) -> Archive:
    if size is None:
        raise DataError(f"The size of an archive must be known. Received: {url!r} without. Copy it to another server.")
    return Archive(url, size)


def _walk(folder: str) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_system_name(name)]
        yield from (os.path.join(parent, name) for name in names if not is_system_name(name))
