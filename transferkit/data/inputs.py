"""Images to predict or to extract features from: files, folders, patterns, arrays, splits and datasets."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

from transferkit._utils.files import is_system_name
from transferkit.data.element_errors import element_errors
from transferkit.data.examples import Split
from transferkit.data.folders import list_images
from transferkit.data.stored_features import require_images
from transferkit.errors import DataError, ImageError
from transferkit.images.loading import load_batch
from transferkit.images.pixels import check_batch, is_pixels, to_rgb_array
from transferkit.images.spec import ImageSpec

_ACCEPTED = (
    "a path, a folder, a pattern such as 'images/*.jpg', the bytes of a file, a file object, an array "
    "(height, width, 3) or (n, height, width, 3), a Pillow image, a list or an iterator of those, a split such "
    "as data.test, or a tf.data.Dataset"
)
_ACCEPTED_ITEM = "a path, bytes, a file object, an array or a Pillow image"


def single_image(images: Any) -> Any | None:
    """Return the source of the image where `images` is one image, None where it is several.

    Raises:
        ImageError: when there is no such file, or an array that is no RGB image.
    """
    if isinstance(images, (bytes, bytearray, memoryview)):
        return images
    if _is_file(images):
        return _contents_of(images)
    if is_pixels(images):
        return to_rgb_array(images) if _rank(images) in (2, 3) else None
    if not isinstance(images, (str, os.PathLike)):
        return None
    path = _to_path(images)
    if os.path.isdir(path) or (_is_pattern(path) and _matches(path)):
        return None
    if not os.path.lexists(path) and ".tfrecord" not in path:
        raise ImageError(path, _missing_reason(path))
    return path


def expand(images: Any) -> list[Any] | Iterator[Any]:
    """Return the sources of several images: a list, or an iterator where `images` is one or a dataset.

    A source is a path, bytes, an array, a Pillow image, or the ImageError of a file that cannot be decoded.

    Raises:
        DataError: for a folder or a pattern without images.
        ImageError: for an array whose values are not those of RGB images.
        TypeError: for anything else.
    """
    if isinstance(images, (str, os.PathLike)):
        return _expand_path(_to_path(images))
    split = images if isinstance(images, Split) else getattr(images, "split", None)
    if isinstance(split, Split):
        return _sources_of_split(split)
    if hasattr(images, "element_spec"):
        return _images_of_dataset(images)
    if is_pixels(images) and _rank(images) != 1:
        return list(check_batch(images))
    if not isinstance(images, Iterable) or isinstance(images, (Mapping, Set)) or hasattr(images, "columns"):
        raise TypeError(f"`images` must be {_ACCEPTED}. Received: {type(images).__name__}.{_hint(images)}")
    items = (source for item in images for source in _expand_item(item))
    return items if isinstance(images, Iterator) else list(items)


def to_split(images: Any, spec: ImageSpec) -> Split:
    """Return images in any form that `expand` accepts as a split of files or of arrays of the size of `spec`.

    Raises:
        DataError: when there is none.
        ImageError: for the first one that cannot be read.
    """
    split = images if isinstance(images, Split) else getattr(images, "split", None)
    if isinstance(split, Split) and split.dataset is None:
        require_images(split, "`images`")
        return split
    single = single_image(images)
    sources = list(expand(images)) if single is None else [single]
    for source in sources:
        if isinstance(source, ImageError):
            raise source
    if not sources:
        raise DataError(f"`images` must have at least one image. Received: an empty {type(images).__name__}.")
    labels = np.zeros(len(sources), np.int32)
    if all(isinstance(source, str) for source in sources):
        return Split("images", labels, spec, paths=tuple(sources))
    has_size = all(is_pixels(source) and np.shape(source) == (*spec.image_size, 3) for source in sources)
    arrays = np.stack([to_rgb_array(source) for source in sources]) if has_size else load_batch(sources, spec)
    return Split("images", labels, spec, images=arrays)


def _expand_path(path: str) -> list[Any]:
    if not os.path.isdir(path):
        return [item for match in _matches(path) for item in _expand_item(match)] or [path]
    index = list_images(path, "images")
    if not index.paths and not index.skipped:
        raise DataError(f"`images` must be a folder with images. Received: {path!r}, with none. Check the path.")
    found: list[tuple[str, Any]] = [(file, file) for file in index.paths]
    found += [(file, ImageError(file, reason)) for file, reason in index.skipped]
    return [source for _, source in sorted(found, key=lambda pair: pair[0])]


def _expand_item(item: Any) -> list[Any]:
    """Return the sources of one item of a list; a folder without images is an error of this item only."""
    if isinstance(item, (str, os.PathLike)):
        try:
            return _expand_path(_to_path(item))
        except DataError:
            return [ImageError(_to_path(item), "it is a folder without images")]
    if _is_file(item):
        return [_contents_of(item)]
    if not is_pixels(item) and not isinstance(item, (bytes, bytearray, memoryview)):
        raise TypeError(f"An image must be {_ACCEPTED_ITEM}. Received: {type(item).__name__}.{_hint(item)}")
    return [item]


def _is_file(images: Any) -> bool:
    return callable(getattr(images, "read", None)) and not isinstance(images, os.PathLike)


def _contents_of(file: Any) -> bytes:
    """Return the rest of a file that was opened in binary mode."""
    contents = file.read()
    if not isinstance(contents, bytes):
        raise TypeError(
            f"A file object must be opened in binary mode. Received: one that returns {type(contents).__name__}. Use "
            "open(path, 'rb')."
        )
    return contents


def _sources_of_split(split: Split) -> list[Any] | Iterator[Any]:
    require_images(split, "`images`")
    if split.dataset is not None:
        return _images_of_dataset(split.dataset)
    return list(split.images if split.images is not None else split.paths or ())


def _images_of_dataset(dataset: Any) -> Iterator[Any]:
    """Yield the images of a tf.data.Dataset of images, batches of images, or file names, with or without labels."""
    elements = dataset.as_numpy_iterator()
    while True:
        with element_errors():
            element = next(elements, None)
        if element is None:
            return
        images = element[0] if isinstance(element, (tuple, list)) else element
        if not isinstance(images, (bytes, np.ndarray)):
            raise TypeError(
                "`images` must be a dataset of images or of (images, labels). Received: elements of the type "
                f"{type(images).__name__}. Select the images with dataset.map."
            )
        for image in images if np.ndim(images) in (1, 4) else (images,):
            # File names and contents of files both are bytes.
            yield os.fsdecode(image) if isinstance(image, bytes) and b"\0" not in image else image


def _matches(path: str) -> list[str]:
    """Return the sorted files and folders that a pattern matches; a file whose name looks like one is itself."""
    if not _is_pattern(path) or os.path.lexists(path):
        return []
    literal = sum(1 for _ in itertools.takewhile(lambda part: not glob.has_magic(part), path.split(os.sep)))
    found = glob.glob(path, recursive=True)
    # Copies of the images that network storage and programs make are not listed in folders either.
    return sorted(match for match in found if not any(map(is_system_name, match.split(os.sep)[literal:])))


def _is_pattern(path: str) -> bool:
    return glob.has_magic(path) and "\0" not in path


def _missing_reason(path: str) -> str:
    if "://" in path:
        return "it is a URL; download the image first"
    kind = "no file matches the pattern" if _is_pattern(path) else "there is no such file"
    return f"{kind}; check the path, which is relative to {os.getcwd()!r}" if not os.path.isabs(path) else kind


def _to_path(path: Any) -> str:
    return os.fsdecode(path)


def _rank(images: Any) -> int:
    return 3 if not hasattr(images, "shape") else len(images.shape)


def _hint(value: Any) -> str:
    if hasattr(value, "splits"):
        return " Give one of its splits, for example data.test."
    if hasattr(value, "columns"):
        return " Give the column of its paths, for example frame['path']."
    if isinstance(value, Sequence):
        return " Give one list of images."
    return ""
