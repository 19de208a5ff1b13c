"""Indexes folders of images with one subfolder per class, and finds the folders of splits."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from transferkit._utils.files import is_system_name
from transferkit.data.cells import SPLITS, resembled_split, split_name, to_name
from transferkit.data.index import EXTENSIONS, ImageIndex
from transferkit.errors import DataError
from transferkit.images.files import read_prefix
from transferkit.images.header import read_header
from transferkit.images.unsupported import undecodable_reason

_MAX_DEPTH = 64
Rows = list[tuple[str, str]]


def index_folder(folder: str | os.PathLike[str], name: str = "source", shown: str | None = None) -> ImageIndex:
    """Index a folder with one subfolder per class, images at any depth below; hidden files are omitted.

    A missing folder, or one without class folders, raises a DataError that names the argument and `shown`, by default
    the folder.
    """
    index = list_images(folder, name)
    unlabelled = tuple(
        (path, "it is not in a class folder") for path, label in zip(index.paths, index.labels) if not label
    )
    index = index.take([number for number, label in enumerate(index.labels) if label])
    if not len(index) and not index.skipped:
        others = [os.path.basename(path) for path, _ in index.ignored[:3]]
        found = f"{len(unlabelled)} images that are not in a class folder" if unlabelled else "no images"
        raise DataError(
            f"`{name}` must be a folder with one subfolder per class. Received: {shown or os.fspath(folder)!r}, with "
            f"{found}{f', but {others}' if others else ''}. Put the images of each class into a folder with the name "
            "of the class."
        )
    return dataclasses.replace(index, ignored=index.ignored + unlabelled, splits=_inner_splits(index.sample_ids))


def _inner_splits(sample_ids: Sequence[str]) -> tuple[str | None, ...] | None:
    """Return the split of each image where every class has folders of splits, as in cats/train/1.jpg; else None."""
    folders = [sample_id.split("/")[1:-1] for sample_id in sample_ids]
    splits = tuple(split_name(inner[0]) if inner else None for inner in folders)
    return splits if None not in splits and "train" in splits and len(set(splits)) > 1 else None


def list_images(folder: str | os.PathLike[str], name: str = "folder") -> ImageIndex:
    """Index all images below a folder, labeled by the subfolder of `folder` that holds them, or "" for none.

    Raises:
        DataError: when the folder is missing or cannot be listed.
    """
    root = os.path.abspath(os.fspath(folder))
    if not os.fspath(folder) or not os.path.isdir(root):
        why = "it is a file that is no table or archive" if os.path.isfile(root) else "there is no such folder"
        raise DataError(f"`{name}` must be a folder of images. Received: {os.fspath(folder)!r}: {why}. Check the path.")
    skipped: Rows = []
    ignored: Rows = []
    paths = list(_walk(root, frozenset(), set(), (skipped, ignored)))
    sample_ids = [os.path.relpath(path, root).replace(os.sep, "/") for path in paths]
    folders = [sample_id.split("/", 1)[0] if "/" in sample_id else "" for sample_id in sample_ids]
    names = {folder: to_name(folder) or folder for folder in set(folders)}
    ignored += [
        (path, "the folder has no images, so it is not a class")
        for path in _subfolders(root)
        if os.path.basename(path) not in names
    ]
    labels = tuple(names[folder] for folder in folders)
    return ImageIndex(tuple(paths), tuple(sample_ids), labels, skipped=tuple(skipped), ignored=tuple(ignored)).sorted()


def split_dirs(folder: str | os.PathLike[str], name: str = "source") -> dict[str, Path]:
    """Return the folders of the splits inside `folder`, if it has any.

    A class may be called "train" or "test" too. So folders are splits only if the one for training has subfolders and
    there is another split or no other folder.

    Raises:
        DataError: when there are folders of other splits only.

    >>> split_dirs("no such folder")
    {}
    """
    inside = _subfolders(os.fspath(folder))
    found = _resembling_splits(inside)
    if found:
        return found
    for split in SPLITS:
        named = [path for path in inside if split_name(os.path.basename(path)) == split]
        if len(named) > 1:
            raise DataError(
                f"`{name}` must have one folder per split. Received: {os.fspath(folder)!r} with "
                f"{[os.path.basename(path) for path in named]} for {split}. Join them, or rename one."
            )
        if named:
            found[split] = _content_of(named[0])
    if not found or not any(_subfolders(os.fspath(path)) for path in found.values()):
        return {}
    if "train" not in found and len(found) == len(inside) > 1:
        raise DataError(
            f"`{name}` must have a folder with training images. Received: {os.fspath(folder)!r} with the splits "
            f"{sorted(found)} only. Add train/, or give the folders as source=, validation= and test=."
        )
    if "train" not in found or not _subfolders(os.fspath(found["train"])):
        return {}
    return found if len(found) > 1 or len(inside) == 1 else {}


def _resembling_splits(inside: Sequence[str]) -> dict[str, Path]:
    """Return folders such as seg_train/ and seg_test/, which are splits if they have the same classes, or {}."""
    named = [(split, path) for path in inside if (split := resembled_split(os.path.basename(path)))]
    found = {split: _content_of(path) for split, path in named}
    if "train" not in found or not 1 < len(found) == len(named):
        return {}
    classes = [set(map(os.path.basename, _subfolders(os.fspath(path)))) for path in found.values()]
    return found if len(set.intersection(*classes)) > 1 else {}


def _content_of(folder: str) -> Path:
    """Return the folder of the same name inside, as archives have them, or the folder."""
    inside = _subfolders(folder)
    return Path(inside[0] if list(map(os.path.basename, inside)) == [os.path.basename(folder)] else folder)


def other_entries(folder: str | os.PathLike[str], splits: Iterable[Path]) -> Rows:
    """Return (path, reason) of files and folders next to the folders of the splits."""
    names = {path.name for path in splits}
    with os.scandir(folder) as entries:
        left_out = sorted(entry.path for entry in entries if entry.name not in names and not is_system_name(entry.name))
    return [(path, "it is next to the folders of the splits, not in one of them") for path in left_out]


def _subfolders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if not is_system_name(entry.name) and _is_folder(entry))
    except (OSError, ValueError):
        return []


def _walk(folder: str, ancestors: frozenset[str], seen: set[str], rows: tuple[Rows, Rows]) -> Iterator[str]:
    """Yield the images below a folder; append others to the rows of skipped and of ignored files."""
    skipped, ignored = rows
    # Do not follow symlink cycles.
    real = os.path.realpath(folder)
    if real in ancestors or len(ancestors) >= _MAX_DEPTH:
        skipped.append((folder, "it links to one of its parents" if real in ancestors else "it is nested too deeply"))
        return
    if real in seen:
        # Links between folders can lead to each of them on millions of ways.
        ignored.append((folder, "it is a folder of its class that is listed already"))
        return
    seen.add(real)
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        skipped.append((folder, f"it cannot be listed ({error.strerror})"))
        return
    for entry in entries:
        if is_system_name(entry.name):
            continue
        if _is_folder(entry):
            found = 0
            for path in _walk(entry.path, ancestors | {real}, seen if ancestors else set(), rows):
                found += 1
                yield path
            if not found and _has_image_extension(entry.name):
                skipped.append((entry.path, "it is a folder"))
        elif _has_image_extension(entry.name):
            yield entry.path
        else:
            yield from _examine(entry, skipped, ignored)


def _examine(entry: os.DirEntry[str], skipped: Rows, ignored: Rows) -> Iterator[str]:
    """Yield the path of a file whose contents are an image, without an extension that shows so."""
    if entry.is_symlink() and not os.path.exists(entry.path):
        skipped.append((entry.path, "it is a link to a file or folder that does not exist"))
        return
    prefix = read_prefix(entry.path, 512)
    reason = undecodable_reason(entry.name, prefix)
    if reason is not None:
        skipped.append((entry.path, reason))
    elif read_header(prefix).format:
        yield entry.path
    else:
        ignored.append((entry.path, "neither its name nor its contents are those of an image"))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _has_image_extension(name: str) -> bool:
    return os.path.splitext(name)[1].casefold() in EXTENSIONS
