"""Lists image files with their labels; no image is decoded here."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transferkit.errors import DataError
from transferkit.images.files import read_prefix
from transferkit.images.header import read_header

# Files with these extensions are expected to be images; their contents decide how they are decoded.
EXTENSIONS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "jpeg"),
    **dict.fromkeys((".png", ".apng"), "png"),
    **dict.fromkeys((".bmp", ".dib"), "bmp"),
    **dict.fromkeys((".tif", ".tiff"), "tiff"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "ppm"),
    **{f".{name}": name for name in ("gif", "webp", "avif", "ico")},
}
# Common name of a split -> its name here.
SPLIT_ALIASES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_MAX_DEPTH = 64
_SYSTEM_FILES = ("thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx")
Rows = list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class ImageIndex:
    """Image files with their labels.

    Attributes:
        paths: one absolute path per example.
        sample_ids: one per example: the path relative to the source, with "/" between folders. Splits follow from
            it, because it is the same in a copy of the data elsewhere.
        labels: one per example: a class name, or a tuple of label names.
        splits: the split that the source assigns to each example, or None.
        groups: examples with the same group stay in one split, or None.
        skipped: (path, reason) of files that should be images but are not.
        ignored: (path, reason) of files without any sign of being images.
    """

    paths: tuple[str, ...]
    sample_ids: tuple[str, ...]
    labels: tuple[str | tuple[str, ...], ...]
    splits: tuple[str | None, ...] | None = None
    groups: tuple[str | None, ...] | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    ignored: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def class_names(self) -> tuple[str, ...]:
        """Return the names of all classes, sorted."""
        names: set[str] = set()
        for label in self.labels:
            names.update(label if isinstance(label, tuple) else (label,))
        return tuple(sorted(names))

    def take(self, indices: Sequence[int]) -> ImageIndex:
        """Return the index of the selected examples."""
        columns = {name: getattr(self, name) for name in ("paths", "sample_ids", "labels", "splits", "groups")}
        taken: dict[str, Any] = {n: None if c is None else tuple(c[i] for i in indices) for n, c in columns.items()}
        return dataclasses.replace(self, **taken)

    def sorted(self) -> ImageIndex:
        """Return the index sorted by sample id, independent of the order in which the source lists its files."""
        return self.take(sorted(range(len(self)), key=lambda index: (self.sample_ids[index], self.paths[index])))


def concat(indexes: Sequence[ImageIndex]) -> ImageIndex:
    """Return one index with the examples of all `indexes`, without their splits."""
    groups = None
    if any(index.groups is not None for index in indexes):
        groups = tuple(group for index in indexes for group in index.groups or (None,) * len(index))
    return dataclasses.replace(
        indexes[0],
        paths=tuple(path for index in indexes for path in index.paths),
        sample_ids=tuple(name for index in indexes for name in index.sample_ids),
        labels=tuple(label for index in indexes for label in index.labels),
        splits=None,
        groups=groups,
    )


def index_folder(folder: str | os.PathLike[str], name: str = "source") -> ImageIndex:
    """Index a folder with one subfolder per class, images at any depth below; hidden files are omitted.

    A missing folder, or one without class folders, raises a DataError that names the argument.
    """
    index = list_images(folder, name)
    unlabelled = tuple(
        (path, "it is not in a class folder") for path, label in zip(index.paths, index.labels) if not label
    )
    index = index.take([number for number, label in enumerate(index.labels) if label])
    if not len(index) and not index.skipped:
        found = f"{len(unlabelled)} images that are not in a class folder" if unlabelled else "no images"
        raise DataError(
            f"`{name}` must be a folder with one subfolder per class. Received: {os.fspath(folder)!r}, with {found}. "
            "Put the images of each class into a folder with the name of the class."
        )
    return dataclasses.replace(index, ignored=index.ignored + unlabelled)


def list_images(folder: str | os.PathLike[str], name: str = "folder") -> ImageIndex:
    """Index all images below a folder, labeled by the subfolder of `folder` that holds them, or "" for none.

    Raises:
        DataError: when the folder is missing or cannot be listed.
    """
    root = os.path.abspath(os.fspath(folder))
    if not os.path.isdir(root):
        why = "it is a file" if os.path.exists(root) else "there is no such folder"
        raise DataError(f"`{name}` must be a folder of images. Received: {os.fspath(folder)!r}: {why}. Check the path.")
    skipped: Rows = []
    ignored: Rows = []
    paths = list(_walk(root, frozenset(), skipped, ignored))
    sample_ids = [os.path.relpath(path, root).replace(os.sep, "/") for path in paths]
    labels = [sample_id.split("/", 1)[0] if "/" in sample_id else "" for sample_id in sample_ids]
    classes = set(labels)
    ignored += [
        (path, "the folder has no images, so it is not a class")
        for path in _subfolders(root)
        if os.path.basename(path) not in classes
    ]
    columns = tuple(paths), tuple(sample_ids), tuple(labels)
    return ImageIndex(*columns, skipped=tuple(skipped), ignored=tuple(ignored)).sorted()


def split_dirs(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the folders of the splits inside `folder`, if it has any.

    A class may be called "train" or "test" too. So folders are splits only if the one for training has subfolders and
    there is another split or no other folder.

    >>> split_dirs("no such folder")
    {}
    """
    inside = {os.path.basename(path).casefold(): Path(path) for path in _subfolders(os.fspath(folder))}
    found: dict[str, Path] = {}
    for alias, split in SPLIT_ALIASES.items():
        if alias in inside:
            found.setdefault(split, inside[alias])
    if "train" not in found or not _subfolders(os.fspath(found["train"])):
        return {}
    return found if len(found) > 1 or len(inside) == 1 else {}


def _subfolders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if not _is_hidden(entry.name) and _is_folder(entry))
    except OSError:
        return []


def _walk(folder: str, ancestors: frozenset[str], skipped: Rows, ignored: Rows) -> Iterator[str]:
    # Do not follow symlink cycles.
    real = os.path.realpath(folder)
    if real in ancestors or len(ancestors) >= _MAX_DEPTH:
        skipped.append((folder, "it links to one of its parents" if real in ancestors else "it is nested too deeply"))
        return
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        skipped.append((folder, f"it cannot be listed ({error.strerror})"))
        return
    for entry in entries:
        if _is_hidden(entry.name):
            continue
        if _is_folder(entry):
            found = 0
            for path in _walk(entry.path, ancestors | {real}, skipped, ignored):
                found += 1
                yield path
            if not found and _has_image_extension(entry.name):
                skipped.append((entry.path, "it is a folder"))
        elif _has_image_extension(entry.name) or read_header(read_prefix(entry.path)).format:
            yield entry.path
        else:
            ignored.append((entry.path, "neither its name nor its contents are those of an image"))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _SYSTEM_FILES


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _has_image_extension(name: str) -> bool:
    return os.path.splitext(name)[1].casefold() in EXTENSIONS
