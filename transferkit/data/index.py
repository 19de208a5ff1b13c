"""From a source to a list of files with labels; no image is decoded here."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from transferkit.errors import DataError
from transferkit.images.files import read_prefix
from transferkit.images.header import read_header

# What is taken for an image by its name. The contents decide how a file is read; the extension only that it is.
EXTENSIONS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "jpeg"),
    **dict.fromkeys((".png", ".apng"), "png"),
    **dict.fromkeys((".bmp", ".dib"), "bmp"),
    **dict.fromkeys((".tif", ".tiff"), "tiff"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "ppm"),
    **{f".{name}": name for name in ("gif", "webp", "avif", "ico")},
}
# The names under which people keep their splits.
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
# Folders inside folders.
_DEEPEST = 64
_SYSTEM_FILES = ("thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx")


@dataclasses.dataclass(frozen=True)
class ImageIndex:
    """Files with their labels.

    Attributes:
        paths: one path an example, absolute.
        names: one name an example, relative to the source, with "/" between folders: it is the same in a copy of
            the data elsewhere, so the splits are drawn by it.
        labels: one label an example: the name of its class, or the names of its labels.
        splits: the split that the source itself puts an example into, or None.
        groups: what must not be parted, or None.
        skipped: (path, reason) of what should have been an image and is none.
        ignored: (path, reason) of what was left aside because nothing says that it is an image.
    """

    paths: tuple[str, ...]
    names: tuple[str, ...]
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
        """Return the index of some of the examples."""
        return dataclasses.replace(
            self,
            paths=tuple(self.paths[index] for index in indices),
            names=tuple(self.names[index] for index in indices),
            labels=tuple(self.labels[index] for index in indices),
            splits=None if self.splits is None else tuple(self.splits[index] for index in indices),
            groups=None if self.groups is None else tuple(self.groups[index] for index in indices),
        )

    def sorted(self) -> ImageIndex:
        """Return the index in the order of the names, in which it does not matter how the source lists its files."""
        return self.take(sorted(range(len(self)), key=lambda index: (self.names[index], self.paths[index])))

    def concat(self, other: ImageIndex) -> ImageIndex:
        """Return the examples of both."""
        groups = None
        if self.groups is not None or other.groups is not None:
            groups = (self.groups or (None,) * len(self)) + (other.groups or (None,) * len(other))
        return dataclasses.replace(
            self,
            paths=self.paths + other.paths,
            names=self.names + other.names,
            labels=self.labels + other.labels,
            splits=None,
            groups=groups,
        )


def index_folder(folder: str | os.PathLike[str], name: str = "source") -> ImageIndex:
    """List the images of a folder with one folder a class, at any depth below; hidden files are passed over.

    Args:
        folder: path of the folder.
        name: what errors call it.

    Raises:
        DataError: when the folder is missing, or holds no folder with images.
    """
    index = list_images(folder, name)
    loose = tuple(
        (path, "it lies in no folder of a class") for path, label in zip(index.paths, index.labels) if not label
    )
    index = index.take([number for number, label in enumerate(index.labels) if label])
    if not len(index) and not index.skipped:
        found = f"{len(loose)} images that lie in no folder of a class" if loose else "no images"
        raise DataError(
            f"`{name}` must be a folder with one folder a class. Received: {os.fspath(folder)!r}, with {found}. "
            "Put each class's images into a folder of the class's name."
        )
    return dataclasses.replace(index, ignored=index.ignored + loose)


def list_images(folder: str | os.PathLike[str], name: str = "folder") -> ImageIndex:
    """List all images below a folder; the label of each is the folder just below `folder` that it lies in, or "".

    Raises:
        DataError: when the folder is missing or cannot be listed.
    """
    root = os.path.abspath(os.fspath(folder))
    if not os.path.isdir(root):
        why = "it is a file" if os.path.exists(root) else "there is no such folder"
        raise DataError(f"`{name}` must be a folder of images. Received: {os.fspath(folder)!r}: {why}. Check the path.")
    skipped: list[tuple[str, str]] = []
    ignored: list[tuple[str, str]] = []
    paths = list(_walk(root, frozenset(), lambda *row: skipped.append(row), lambda *row: ignored.append(row)))
    names = [os.path.relpath(path, root).replace(os.sep, "/") for path in paths]
    labels = [name.split("/", 1)[0] if "/" in name else "" for name in names]
    classes = set(labels)
    ignored += [
        (path, "the folder holds no images, so it is no class")
        for path in _folders(root)
        if os.path.basename(path) not in classes
    ]
    return ImageIndex(
        tuple(paths), tuple(names), tuple(labels), skipped=tuple(skipped), ignored=tuple(ignored)
    ).sorted()


def split_folders(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the folders of train, validation and test inside `folder`, where there are any.

    A class may be called "train" or "test", too. So folders are splits only if there is one for training that has
    folders inside, and another split beside it or nothing else at all.

    >>> split_folders("no such folder")
    {}
    """
    inside = {os.path.basename(path).casefold(): Path(path) for path in _folders(os.fspath(folder))}
    found = {
        split: next(inside[name] for name in names if name in inside)
        for split, names in _SPLITS.items()
        if any(name in inside for name in names)
    }
    if "train" not in found or not _folders(os.fspath(found["train"])):
        return {}
    return found if len(found) > 1 or len(inside) == 1 else {}


def _folders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if not _is_hidden(entry.name) and _is_folder(entry))
    except OSError:
        return []


def _walk(
    folder: str, above: frozenset[str], skip: Callable[[str, str], None], ignore: Callable[[str, str], None]
) -> Iterator[str]:
    # Folders already on the way down are not entered again, so that links in a loop come to an end.
    real = os.path.realpath(folder)
    if real in above or len(above) >= _DEEPEST:
        skip(folder, "it is a link to a folder that it lies in" if real in above else "it lies too deep")
        return
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        skip(folder, f"it cannot be listed ({error.strerror})")
        return
    for entry in entries:
        if _is_hidden(entry.name):
            continue
        if _is_folder(entry):
            found = 0
            for path in _walk(entry.path, above | {real}, skip, ignore):
                found += 1
                yield path
            if not found and _has_image_name(entry.name):
                skip(entry.path, "it is a folder")
        elif _has_image_name(entry.name) or read_header(read_prefix(entry.path)).format:
            yield entry.path
        else:
            ignore(entry.path, "neither its name nor its contents are those of an image")


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _SYSTEM_FILES


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _has_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].casefold() in EXTENSIONS
