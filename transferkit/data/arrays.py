"""Data sets of arrays in memory."""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from transferkit._utils.hashing import content_hash
from transferkit.data.examples import Split
from transferkit.data.file_info import FileInfo
from transferkit.data.index import ImageIndex
from transferkit.data.numbers import parse_numbers
from transferkit.data.weights import parse_weights
from transferkit.errors import DataError
from transferkit.images.pillow_decoder import decode_image
from transferkit.images.pixels import is_pixels, shape_hint, value_problem
from transferkit.images.spec import ImageSpec

_LOG = logging.getLogger("transferkit")
# Larger class indices are numbers of another meaning, such as the ids of a database.
_MAX_CLASSES = 1_000_000


class Arrays(NamedTuple):
    """Images (n, height, width, 3), labels int32 (n,) or float32 (n, classes), and weights float32 (n,) or None."""

    images: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None = None

    def take(self, rows: Sequence[int]) -> Arrays:
        """Return the selected rows."""
        weights = None if self.weights is None else self.weights[rows]
        return Arrays(self.images[rows], self.labels[rows], weights)


def is_arrays(source: Any) -> bool:
    """Return whether `source` is (images, labels) or (images, labels, weights) with images in memory.

    They are in one array or in a list.
    """
    if not isinstance(source, (tuple, list)) or len(source) not in (2, 3) or isinstance(source[0], (str, bytes)):
        return False
    images = source[0]
    if isinstance(images, np.ndarray) and images.dtype.kind == "O":
        images = images.ravel().tolist()
    if isinstance(images, (tuple, list)):
        return len(images) > 0 and is_pixels(images[0])
    return is_pixels(images) and getattr(images, "ndim", 0) > 1


def validate_arrays(sources: Mapping[str, Any], size: tuple[int, int], *, numbers: bool = False) -> dict[str, Arrays]:
    """Return the arrays of each split; with `numbers`, labels float32 (n,) that are numbers.

    Labels (n, classes) are those of single classes where every row of every split has exactly one 1. Training images
    that are also in another split are left out.

    Raises:
        DataError: when images and labels do not match, or the images are not of `size` or not in [0, 255].
    """
    arrays = {}
    for split, source in sources.items():
        name = "source" if split == "train" else split
        if not is_arrays(source):
            received = type(source).__name__
            raise DataError(f"`{name}` must be arrays (images, labels), like `source`. Received: {received}.")
        images = _validate_images(name, source[0], size)
        labels = _validate_numbers(name, source[1]) if numbers else _validate_labels(name, source[1])
        if len(images) != len(labels):
            counts = f"{len(images)} images and {len(labels)} labels"
            raise DataError(f"`{name}` must have as many labels as images. Received: {counts}.")
        weights = _validate_weights(name, source[2], len(images)) if len(source) == 3 else None
        arrays[split] = Arrays(images, labels, weights)
    arrays["train"] = _without_copies(arrays)
    if all(part.labels.ndim == 2 and (part.labels.sum(axis=1) == 1).all() for part in arrays.values()):
        return {split: part._replace(labels=_to_indices(split, part.labels)) for split, part in arrays.items()}
    return arrays


def _without_copies(arrays: Mapping[str, Arrays]) -> Arrays:
    """Return the training images that are in no other split, with their labels."""
    images = arrays["train"].images
    others = [image for name, part in arrays.items() if name != "train" for image in part.images]
    held_out = set(map(_value_hash, others))
    kept = [row for row, image in enumerate(images) if _value_hash(image) not in held_out] if others else []
    if not others or len(kept) == len(images):
        return arrays["train"]
    if not kept:
        raise DataError(
            "Every split must have at least one image. Received: training images that all are in `validation` or "
            "`test` too. Give other images for them, or a fraction."
        )
    count = len(images) - len(kept)
    _LOG.warning("Left out %d of %d training images that are also in validation or test", count, len(images))
    return arrays["train"].take(kept)


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


def _validate_numbers(name: str, labels: Any) -> np.ndarray:
    try:
        array = np.asarray(labels)
    except ValueError as error:
        raise DataError(f"The labels of `{name}` must form an array. Received: rows of different lengths.") from error
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1:
        raise DataError(f"The labels of `{name}` must be one number per image. Received: the shape {array.shape}.")
    texts = parse_numbers(array.tolist(), lambda row: f"the label at position {row} of `{name}`")
    return np.array(texts, np.float64).astype(np.float32)


def _validate_weights(name: str, weights: Any, count: int) -> np.ndarray:
    try:
        array = np.asarray(weights)
    except ValueError as error:
        raise DataError(f"The weights of `{name}` must form an array. Received: rows of different lengths.") from error
    if array.shape != (count,):
        raise DataError(f"`{name}` must have one weight for each of {count} images. Received: the shape {array.shape}.")
    return np.array(parse_weights(array.tolist(), lambda row: f"the weight at position {row} of `{name}`"), np.float32)


def _to_indices(split: str, labels: np.ndarray) -> np.ndarray:
    empty = np.flatnonzero(~labels.any(axis=0))
    if split == "train" and empty.size:
        raise DataError(
            f"Every class must have training images. Received: none for the columns {empty[:5].tolist()} of the "
            "labels. Remove these columns."
        )
    return labels.argmax(axis=1).astype(np.int32)


def index_arrays(
    name: str, arrays: Arrays, image_spec: ImageSpec, *, numbers: bool = False
) -> tuple[ImageIndex, dict[str, FileInfo]]:
    """Index arrays like files, so that they are split, subsampled and oversampled in the same way.

    Returns:
        The index, whose paths are "name@row", and the metadata of each path. Sample ids are content hashes.
    """
    hashes = Split(name, arrays.labels, image_spec, images=arrays.images).content_hashes()
    paths = tuple(f"{name}@{row}" for row in range(len(hashes)))
    labels = tuple(str(label) for label in arrays.labels.tolist())
    index = ImageIndex(paths, tuple(map(bytes.hex, hashes)), labels, numbers=numbers)
    return index, {path: FileInfo(digest, None) for path, digest in zip(paths, hashes)}


def take_rows(index: ImageIndex, arrays: Mapping[str, Arrays]) -> Arrays:
    """Return the rows of an index made by `index_arrays`, all from the arrays of one split."""
    name = index.paths[0].rsplit("@", 1)[0]
    rows = [int(path.rsplit("@", 1)[1]) for path in index.paths]
    # Without a selection, avoids a copy of all images.
    return arrays[name] if rows == list(range(len(arrays[name].labels))) else arrays[name].take(rows)


def array_class_names(arrays: Mapping[str, Arrays], class_names: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the class names: as given, or "0", "1" and so on."""
    labels = arrays["train"].labels
    if {part.labels.ndim for part in arrays.values()} != {labels.ndim}:
        raise DataError("The labels of all splits must have one form. Received: class indices and several per image.")
    count = labels.shape[1] if labels.ndim == 2 else 1 + max(int(part.labels.max()) for part in arrays.values())
    used = np.unique(np.concatenate([part.labels for part in arrays.values()])) if labels.ndim == 1 else range(count)
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
