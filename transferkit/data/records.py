"""Reads data sets of other libraries whose items are found by number: Hugging Face, torchvision, TFDS and Grain.

An item is a dictionary with an image and a label, or a tuple (image, label).
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from transferkit._utils.checks import did_you_mean
from transferkit.data.cells import from_one_hot, is_missing, to_label
from transferkit.errors import DataError, ImageError
from transferkit.images.files import read_bytes
from transferkit.images.pixels import is_pixels, to_rgb_array

# The names that most data sets have.
IMAGE_KEYS, LABEL_KEYS = ("image", "img"), ("label", "labels")
# Repeated data sets without an end have a length too, of the order of the largest integer.
_MAX_ITEMS = 10**9


class Record(NamedTuple):
    """The bytes of an image's file with its label, as the data set has it."""

    encoded: bytes
    label: Any


class _Keys(NamedTuple):
    """Where items have their image and their label: names of dictionaries, positions of tuples."""

    image: Any
    label: Any


def is_random_access(source: Any) -> bool:
    """Return whether `source` is a data set whose items are found by number, of a class of another library.

    >>> is_random_access(["a.jpg", "b.jpg"])
    False
    """
    if isinstance(source, (str, bytes, list, tuple, Mapping, np.ndarray, os.PathLike)) or is_pixels(source):
        return False
    return hasattr(source, "__getitem__") and hasattr(source, "__len__") and not hasattr(source, "iloc")


def are_splits(source: Any) -> bool:
    """Return whether `source` is a dictionary of such data sets, one per split."""
    return isinstance(source, Mapping) and len(source) > 0 and all(map(is_random_access, source.values()))


def listed_files(source: Any) -> tuple[list[str], list[str]] | None:
    """Return the paths and class names of a torchvision `ImageFolder` or `DatasetFolder`, None for anything else."""
    samples, classes = getattr(source, "samples", None), getattr(source, "classes", None)
    if not isinstance(samples, list) or not samples or not isinstance(classes, list):
        return None
    is_listed = all(isinstance(row, tuple) and len(row) == 2 and isinstance(row[0], str) for row in samples)
    return ([path for path, _ in samples], [classes[label] for _, label in samples]) if is_listed else None


def read_records(source: Any, name: str) -> Iterator[Record]:
    """Yield the items of a data set, each of which is read once; `name` is the argument for error messages.

    Raises:
        DataError: when the items are not images with labels.
    """
    count = len(source)
    if not 0 < count <= _MAX_ITEMS:
        raise DataError(f"`{name}` must have at least one item and an end. Received: {count} items. Remove repeat().")
    keys = _keys(source[0], _features(source), name)
    items = _with_encoded_images(source, keys)
    for row in range(count):
        item = _item(items, row, name)
        label = _item_label(item, keys, row, name)
        yield Record(_encoded(item[keys.image], row, name), label)


def name_labels(
    source: Any, labels: Sequence[Any], name: str, class_names: Sequence[str] | None
) -> list[str | tuple[str, ...]]:
    """Return the class name, or a tuple of label names, of each item.

    The names are those of `class_names`, else those that the data set has, else the class indices.

    Raises:
        DataError: for a class index without a name.
    """
    names = class_names or _class_names(source, _keys(source[0], _features(source), name))
    return [_named(label, names, row, name) for row, label in enumerate(from_one_hot(labels))]


def _item(items: Any, row: int, name: str) -> Any:
    try:
        return items[row]
    except OSError as error:
        raise DataError(
            f"Every item of `{name}` must be readable. Received: {type(error).__name__} for item {row} ({error}). "
            "Remove it from the data set."
        ) from error


def _keys(item: Any, features: Mapping[str, Any], name: str) -> _Keys:
    if isinstance(item, (tuple, list)) and len(item) == 2:
        return _Keys(0, 1)
    if not isinstance(item, Mapping):
        raise DataError(
            f"The items of `{name}` must be dictionaries with an image and a label, or tuples (image, label). "
            f"Received: {type(item).__name__}. Convert them, for example with map."
        )
    images = [key for key in item if type(features.get(key)).__name__ == "Image"]
    labels = [key for key in item if type(features.get(key)).__name__ == "ClassLabel"]
    return _Keys(_one_key(item, IMAGE_KEYS, images, name), _one_key(item, LABEL_KEYS, labels, name))


def _one_key(item: Mapping[str, Any], common: Sequence[str], typed: Sequence[str], name: str) -> str:
    found = [key for key in common if key in item] or list(typed)
    if len(found) == 1:
        return found[0]
    hint = did_you_mean(common[0], list(item)) or "Rename the one that is meant, and remove the others."
    raise DataError(
        f"The items of `{name}` must have one column {common[0]!r}. Received: the columns {list(item)[:20]}. {hint}"
    )


def _features(source: Any) -> Mapping[str, Any]:
    """Return the description of the columns, where the data set has one: of Hugging Face or TFDS."""
    for owner in (source, getattr(source, "dataset_info", None)):
        features: Any = getattr(owner, "features", None)
        if hasattr(features, "items"):
            return dict(features.items())
    return {}


def _class_names(source: Any, keys: _Keys) -> Sequence[str] | None:
    feature = _features(source).get(keys.label)
    names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
    while not names and source is not None:
        # A subset of torch has the data set that it is of.
        names, source = getattr(source, "classes", None), getattr(source, "dataset", None)
    return [str(name) for name in names] if names else None


def _with_encoded_images(source: Any, keys: _Keys) -> Any:
    """Return the data set, with images as the bytes of their files where it is one of Hugging Face."""
    feature: Any = _features(source).get(keys.image)
    if not hasattr(source, "cast_column") or type(feature).__name__ != "Image":
        return source
    return source.cast_column(keys.image, type(feature)(decode=False))


def _item_label(item: Any, keys: _Keys, row: int, name: str) -> Any:
    label = item[keys.label]
    # Data sets of Hugging Face have -1 where a label is hidden.
    if is_missing(label) or (np.ndim(label) == 0 and label == -1):
        raise DataError(
            f"Every item of `{name}` must have a label. Received: {label!r} for item {row}. Filter these items out, "
            "and predict them with the trained classifier."
        )
    return np.asarray(label).tolist() if is_pixels(label) else label


def _named(label: Any, names: Sequence[str] | None, row: int, name: str) -> str | tuple[str, ...]:
    found = to_label(label)
    if names is None or isinstance(label, str) or (isinstance(found, tuple) and set(found) <= set(names)):
        return found
    try:
        indices = [int(part) for part in (found if isinstance(found, tuple) else (found,))]
        chosen = tuple(names[index] for index in indices if index >= 0)
    except (ValueError, IndexError):
        chosen = ()
    if not chosen and found != ():
        raise DataError(
            f"The labels of `{name}` must be class indices below {len(names)}, the number of class names. Received: "
            f"{label!r} for item {row}. Give all `class_names`."
        )
    return chosen if isinstance(found, tuple) else chosen[0]


def _encoded(image: Any, row: int, name: str) -> bytes:
    """Return the bytes of an image's file; pixels are encoded without loss."""
    if isinstance(image, Mapping) and {"bytes", "path"} <= set(image):
        image = image["bytes"] or image["path"]
    if isinstance(image, (bytes, str, os.PathLike)):
        try:
            return read_bytes(image)[1]
        except ImageError:
            # Listed among the unreadable files like any other.
            return b"\0"
    try:
        return _png(_as_rgb(image))
    except (ImageError, TypeError) as error:
        reason = error.reason if isinstance(error, ImageError) else f"it is of the type {type(image).__name__}"
        raise DataError(
            f"The images of `{name}` must be Pillow images, uint8 arrays, encoded bytes or paths. Received: for item "
            f"{row}, {reason}. Remove transforms that prepare images for another framework."
        ) from error


def _as_rgb(image: Any) -> np.ndarray:
    if not is_pixels(image):
        raise TypeError
    if isinstance(image, Image.Image):
        return to_rgb_array(image)
    array = np.asarray(image)
    if array.ndim == 2 or array.shape[-1:] == (1,):
        array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=-1)
    if array.dtype != np.uint8:
        raise ImageError("<array>", f"an array of the type {array.dtype}")
    return to_rgb_array(array)


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()
