"""From a source to a list of files with labels; no file is opened here."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from transferkit.errors import DataError

__all__ = ["EXTENSIONS", "Index", "index_folder", "split_folders"]

# What is looked at in a folder of a class. The contents decide how a file is read; the extension only that it is.
EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .gif .bmp .dib .webp .tif .tiff .avif .ico .ppm .pgm .pbm .mpo".split()
)
# The names under which people keep their splits.
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}


@dataclasses.dataclass(frozen=True)
class Index:
    """Files with their labels.

    Attributes:
        paths: one path an example, absolute.
        names: one name an example, relative to the source, with "/" between folders: it is the same in a copy of
            the data elsewhere, so the splits are drawn by it.
        labels: one label an example: the name of its class, or the names of its labels.
        splits: the split that the source itself puts an example into, or None.
        groups: what must not be parted, or None.
        skipped: (path, reason) of what was seen and left aside.
    """

    paths: tuple[str, ...]
    names: tuple[str, ...]
    labels: tuple[str | tuple[str, ...], ...]
    splits: tuple[str | None, ...] | None = None
    groups: tuple[str | None, ...] | None = None
    skipped: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def class_names(self) -> tuple[str, ...]:
        """Return the names of all classes, sorted."""
        names: set[str] = set()
        for label in self.labels:
            names.update(label if isinstance(label, tuple) else (label,))
        return tuple(sorted(names))

    def take(self, indices: list[int]) -> Index:
        """Return the index of some of the examples."""
        return Index(
            tuple(self.paths[index] for index in indices),
            tuple(self.names[index] for index in indices),
            tuple(self.labels[index] for index in indices),
            None if self.splits is None else tuple(self.splits[index] for index in indices),
            None if self.groups is None else tuple(self.groups[index] for index in indices),
            self.skipped,
        )


def index_folder(folder: str | os.PathLike[str]) -> Index:
    """List the images of a folder with one folder a class, at any depth below; hidden files are passed over.

    Raises:
        DataError: when the folder is missing, or holds no folder with images.
    """
    root = Path(folder)
    if not root.is_dir():
        why = "it is a file" if root.exists() else "there is no such folder"
        raise DataError(
            f"`source` must be a folder with one folder a class. Received: {os.fspath(folder)!r}: {why}. Check the path."
        )
    paths: list[str] = []
    labels: list[str] = []
    skipped: list[tuple[str, str]] = []
    for name in sorted(os.listdir(root)):
        if not name.startswith(".") and (root / name).is_dir():
            before = len(paths)
            paths.extend(_images_below(root / name, skipped))
            labels.extend([name] * (len(paths) - before))
            if len(paths) == before:
                skipped.append((os.fspath(root / name), "the folder holds no images, so it is no class"))
    if not paths:
        loose = sum(1 for name in os.listdir(root) if _is_image_name(name))
        found = f"{loose} images that lie in no folder of a class" if loose else "no images"
        raise DataError(
            f"`source` must be a folder with one folder a class. Received: {os.fspath(folder)!r}, with {found}. "
            "Put each class's images into a folder of the class's name."
        )
    base = os.path.abspath(root)
    absolute = [os.path.abspath(path) for path in paths]
    names = [os.path.relpath(path, base).replace(os.sep, "/") for path in absolute]
    return Index(tuple(absolute), tuple(names), tuple(labels), skipped=tuple(skipped))


def split_folders(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the folders of train, validation and test inside `folder`, where there is one for training at least.

    >>> split_folders("no such folder")
    {}
    """
    root = Path(folder)
    if not root.is_dir():
        return {}
    inside = {path.name.casefold(): path for path in root.iterdir() if path.is_dir()}
    found = {
        split: next(inside[name] for name in names if name in inside)
        for split, names in _SPLITS.items()
        if any(name in inside for name in names)
    }
    # A class may be called "test"; it takes a training folder beside it to mean a split.
    return found if "train" in found and len(found) > 1 else {}


def _images_below(folder: Path, skipped: list[tuple[str, str]]) -> Iterator[str]:
    # Folders already on the way down are not entered again, so that links in a loop come to an end.
    yield from _walk(os.fspath(folder), skipped, frozenset())


def _walk(folder: str, skipped: list[tuple[str, str]], above: frozenset[str]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in above:
        skipped.append((folder, "it is a link to a folder that it lies in"))
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        skipped.append((folder, f"it cannot be listed ({error.strerror})"))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            yield from _walk(entry.path, skipped, above | {real})
        elif _is_image_name(entry.name):
            yield entry.path
        elif entry.name.casefold() not in ("thumbs.db", "desktop.ini"):
            skipped.append((entry.path, "its extension is not one of an image"))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_image_name(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].casefold() in EXTENSIONS
