"""Data sets that are not files: arrays in memory, and the user's tf.data.Dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from transferkit.data.examples import Split
from transferkit.data.file_info import FileInfo
from transferkit.data.index import ImageIndex
from transferkit.errors import DataError
from transferkit.images.spec import ImageSpec
from transferkit.images.tf_decoder import resize_tensor

Pair = tuple[np.ndarray, np.ndarray]


def is_arrays(source: Any) -> bool:
    """Return whether `source` is a pair (images, labels) with images in memory."""
    return isinstance(source, (tuple, list)) and len(source) == 2 and getattr(source[0], "ndim", 0) == 4


def validate_arrays(name: str, source: Any, size: tuple[int, int]) -> Pair:
    """Return images (n, height, width, 3) and labels, int32 (n,) or float32 (n, classes).

    Raises:
        DataError: when they do not match, or the images are not of `size` or not in [0, 255].
    """
    if not is_arrays(source):
        raise DataError(f"`{name}` must be arrays (images, labels), like `source`. Received: {type(source).__name__}.")
    images, labels = np.asarray(source[0]), np.asarray(source[1])
    if images.shape[-1] != 3 or len(images) != len(labels) or len(images) == 0 or labels.ndim > 2:
        raise DataError(
            f"`{name}` must be images (n, height, width, 3) and n labels. Received: images {images.shape} and labels "
            f"{labels.shape}."
        )
    if images.shape[1:3] != size:
        found = tuple(images.shape[1:3])
        raise DataError(
            f"`image_size` must be that of the arrays. Received: {size} for images of {found}. Give image_size={found}."
        )
    _check_range(name, images)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iufb" or labels.min(initial=0) < 0 or (labels.ndim == 1 and (labels % 1).any()):
        raise DataError(f"The labels of `{name}` must be class indices from 0. Received: {labels[:3]!r} and so on.")
    return images, labels.astype(np.int32 if labels.ndim == 1 else np.float32)


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
    count = labels.shape[1] if labels.ndim == 2 else 1 + max(int(pair[1].max()) for pair in pairs.values())
    names = class_names or tuple(str(index) for index in range(count))
    if len(names) < count or (labels.ndim == 2 and len(names) != count):
        raise DataError(f"`class_names` must name {count} classes. Received: {list(names)}.")
    return names


def dataset_split(name: str, dataset: Any, image_spec: ImageSpec, batch_size: int) -> Split:
    """Return a split of the user's dataset, batched and resized where it is not yet.

    Raises:
        DataError: when it does not yield (images, labels), or the images are not in [0, 255].
    """
    spec = getattr(dataset, "element_spec", None)
    if not isinstance(spec, tuple) or len(spec) != 2 or spec[0].shape.rank not in (3, 4) or spec[0].shape[-1] != 3:
        raise DataError(
            f"`{name}` must be a tf.data.Dataset of (images, labels), images (height, width, 3) or batches of them, "
            f"like `source`: a dataset cannot be split without leaks. Received: {dataset if spec is None else spec!r}."
        )
    is_batched = spec[0].shape.rank == 4
    for images, _ in dataset.take(1):
        _check_range(name, images.numpy() if is_batched else images.numpy()[None])
    if tuple(spec[0].shape[-3:-1]) != image_spec.image_size:
        dataset = dataset.unbatch() if is_batched else dataset
        dataset, is_batched = dataset.map(lambda image, label: (resize_tensor(image, image_spec), label)), False
    dataset = dataset if is_batched else dataset.batch(batch_size)
    dataset = dataset.map(lambda images, labels: (tf.cast(images, tf.float32), labels)).prefetch(2)
    return Split(name, np.zeros(0, np.int32), image_spec, dataset=dataset)


def _check_range(name: str, images: np.ndarray) -> None:
    if images.dtype == np.uint8:
        return
    sample = images[:32]
    lowest, highest = float(sample.min()), float(sample.max())
    if not (lowest >= 0 and highest <= 255) or (highest <= 1 and images.dtype.kind == "f" and highest > 0):
        raise DataError(
            f"The images of `{name}` must be RGB in [0, 255]. Received: values from {lowest:g} to {highest:g}. Undo "
            "the scaling; the backbone applies its own."
        )
