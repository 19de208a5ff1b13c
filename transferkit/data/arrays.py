"""Data sets of arrays in memory."""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from transferkit._utils.hashing import content_hash
from transferkit.data.examples import Split
from transferkit.data.file_info import FileInfo
from transferkit.data.index import ImageIndex
from transferkit.errors import DataError
from transferkit.images.pillow_decoder import decode_image
from transferkit.images.pixels import is_pixels, shape_hint, value_problem
from transferkit.images.spec import ImageSpec

_LOG = logging.getLogger("transferkit")
Pair = tuple[np.ndarray, np.ndarray]
# Larger class indices are numbers of another meaning, such as the ids of a database.
_MAX_CLASSES = 1_000_000


def is_arrays(source: Any) -> bool:
    """Return whether `source` is a pair (images, labels) with images in memory, in one array or in a list."""
    if not isinstance(source, (tuple, list)) or len(source) != 2 or isinstance(source[0], (str, bytes)):
        return False
    images = source[0]
    if isinstance(images, np.ndarray) and images.dtype.kind == "O":
        images = images.ravel().tolist()
    if isinstance(images, (tuple, list)):
        return len(images) > 0 and is_pixels(images[0])
    return is_pixels(images) and getattr(images, "ndim", 0) > 1


def validate_pairs(sources: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Pair]:
    """Return images (n, height, width, 3) and labels, int32 (n,) or float32 (n, classes), for each split.

    Labels (n, classes) are those of single classes where every row of every split has exactly one 1. Training images
    that are also in another split are left out.

    Raises:
        DataError: when images and labels do not match, or the images are not of `size` or not in [0, 255].
    """
    pairs = {}
    for split, source in sources.items():
        name = "source" if split == "train" else split
        if not is_arrays(source):
            received = type(source).__name__
            raise DataError(f"`{name}` must be arrays (images, labels), like `source`. Received: {received}.")
        pairs[split] = _validate_images(name, source[0], size), _validate_labels(name, source[1])
        if len(pairs[split][0]) != len(pairs[split][1]):
            counts = f"{len(pairs[split][0])} images and {len(pairs[split][1])} labels"
            raise DataError(f"`{name}` must have as many labels as images. Received: {counts}.")
    pairs["train"] = _without_copies(pairs)
    if all(labels.ndim == 2 and (labels.sum(axis=1) == 1).all() for _, labels in pairs.values()):
        return {split: (images, _to_indices(split, labels)) for split, (images, labels) in pairs.items()}
    return pairs


def _without_copies(pairs: Mapping[str, Pair]) -> Pair:
    """Return the training images that are in no other split, with their labels."""
    images, labels = pairs["train"]
    others = [image for name, pair in pairs.items() if name != "train" for image in pair[0]]
    held_out = set(map(_value_hash, others))
    kept = [row for row, image in enumerate(images) if _value_hash(image) not in held_out] if others else []
    if not others or len(kept) == len(images):
        return images, labels
    if not kept:
        raise DataError(
            "Every split must have at least one image. Received: training images that all are in `validation` or "
            "`test` too. Give other images for them, or a fraction."
        )
    count = len(images) - len(kept)
    _LOG.warning("Left out %d of %d training images that are also in validation or test", count, len(images))
    return images[kept], labels[kept]


def _value_hash(image: np.ndarray) -> bytes:
    # Equal for integers and floats, which different splits may have.
    return content_hash(np.ascontiguousarray(image, np.float32).tobytes())


def _validate_images(name: str, images: Any, size: tuple[int, int]) -> np.ndarray:
    array = _stack(name, images)
    if array.ndim != 4 or array.shape[-1] != 3 or 0 in array.shape:
        required = f"The images of `{name}` must be an array (n, height, width, 3)"
        raise DataError(f"{required}. Received: {array.shape}. {shape_hint(array.shape)}".rstrip())
    if array.shape[1:3] != size:
        found = tuple(array.shape[1:3])
        raise DataError(
            f"`image_size` must be that of the arrays. Received: {size} for images of {found}. Give image_size={found}."
        )
    if problem := value_problem(array):
        raise DataError(f"The images of `{name}` must be RGB in [0, 255]. {problem}")
    return array


def _stack(name: str, images: Any) -> np.ndarray:
    """Return one array of an array, or of a list of arrays or Pillow images of one shape."""
    if isinstance(images, np.ndarray) and images.dtype.kind == "O":
        images = list(images)
    if not isinstance(images, (list, tuple)):
        return np.asarray(images)
    items = [decode_image(image) if isinstance(image, Image.Image) else np.asarray(image) for image in images]
    other = next((index for index, item in enumerate(items) if item.shape != items[0].shape), None)
    if other is not None:
        raise DataError(
            f"The images of `{name}` must be of one shape. Received: {items[0].shape} and, at position {other}, "
            f"{items[other].shape}. Resize them to one size, or save them as files, which are resized."
        )
    return np.stack(items)


def _validate_labels(name: str, labels: Any) -> np.ndarray:
    try:
        array = np.asarray(labels)
    except ValueError as error:
        raise DataError(f"The labels of `{name}` must form an array. Received: rows of different lengths.") from error
    if array.dtype.kind == "O":
        # Tables of pandas hold integers as objects.
        array = np.asarray(array.tolist())
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind in "iufb" and array.ndim in (1, 2) and np.isfinite(array).all():
        in_range = array.min(initial=0) >= 0 and array.max(initial=0) < _MAX_CLASSES
        if in_range and (np.isin(array, (0, 1)) if array.ndim == 2 else array % 1 == 0).all():
            return array.astype(np.int32 if array.ndim == 1 else np.float32)
    raise DataError(
        f"The labels of `{name}` must be class indices (n,) from 0, or zeros and ones (n, classes), without missing "
        f"values. Received: {reprlib.repr(array.tolist())}. For names, give "
        "class_names, labels = np.unique(names, return_inverse=True)."
    )


def _to_indices(split: str, labels: np.ndarray) -> np.ndarray:
    empty = np.flatnonzero(~labels.any(axis=0))
    if split == "train" and empty.size:
        raise DataError(
            f"Every class must have training images. Received: none for the columns {empty[:5].tolist()} of the "
            "labels. Remove these columns."
        )
    return labels.argmax(axis=1).astype(np.int32)


def index_arrays(name: str, pair: Pair, image_spec: ImageSpec) -> tuple[ImageIndex, dict[str, FileInfo]]:
    """Index arrays like files, so that they are split, subsampled and oversampled in the same way.

    Returns:
        The index, whose paths are "name@row", and the metadata of each path. Sample ids are content hashes.
    """
    images, labels = pair
    hashes = Split(name, labels, image_spec, images=images).content_hashes()
    paths = tuple(f"{name}@{row}" for row in range(len(labels)))
    index = ImageIndex(paths, tuple(map(bytes.hex, hashes)), tuple(str(label) for label in labels.tolist()))
    return index, {path: FileInfo(digest, None) for path, digest in zip(paths, hashes)}


def take_rows(index: ImageIndex, arrays: Mapping[str, Pair]) -> Pair:
    """Return the images and labels of an index made by `index_arrays`, all from one pair."""
    name = index.paths[0].rsplit("@", 1)[0]
    images, labels = arrays[name]
    rows = [int(path.rsplit("@", 1)[1]) for path in index.paths]
    if rows == list(range(len(labels))):
        # Avoids a copy of all images.
        return images, labels
    return images[rows], labels[rows]


def array_class_names(pairs: Mapping[str, Pair], class_names: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the class names: as given, or "0", "1" and so on."""
    labels = pairs["train"][1]
    if {pair[1].ndim for pair in pairs.values()} != {labels.ndim}:
        raise DataError("The labels of all splits must have one form. Received: class indices and several per image.")
    count = labels.shape[1] if labels.ndim == 2 else 1 + max(int(pair[1].max()) for pair in pairs.values())
    used = np.unique(np.concatenate([pair[1] for pair in pairs.values()])) if labels.ndim == 1 else range(count)
    if class_names is None and len(used) < count:
        raise DataError(
            f"The labels must be all class indices from 0. Received: {len(used)} different ones up to {count - 1}: "
            f"{reprlib.repr(list(map(int, used)))}. Name all classes with `class_names`, or number them with "
            "np.unique(labels, return_inverse=True)."
        )
    names = class_names or tuple(str(index) for index in range(count))
    if len(names) < count or (labels.ndim == 2 and len(names) != count):
        raise DataError(f"`class_names` must name {count} classes. Received: {list(names)}.")
    return names
