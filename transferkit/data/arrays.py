"""Data sets that are no files: arrays in memory, and the user's own tf.data.Dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from transferkit.data.assignment import SPLITS
from transferkit.data.examples import Split
from transferkit.data.splitting import stratified_split
from transferkit.errors import DataError
from transferkit.images.spec import ImageSpec

Pair = tuple[np.ndarray, np.ndarray]


def is_arrays(source: Any) -> bool:
    """Return whether `source` is a pair (images, labels) with images in memory."""
    return isinstance(source, (tuple, list)) and len(source) == 2 and getattr(source[0], "ndim", 0) == 4


def validate_arrays(name: str, source: Any, size: tuple[int, int]) -> Pair:
    """Return images (n, height, width, 3) and labels, int32 (n,) or float32 (n, classes).

    Raises:
        DataError: when they do not fit each other, or the images are not of `size`, or not in [0, 255].
    """
    if not is_arrays(source):
        raise DataError(f"`{name}` must be arrays (images, labels), as `source` is. Received: {type(source).__name__}.")
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
        raise DataError(f"The labels of `{name}` must be class numbers from 0. Received: {labels[:3]!r} and so on.")
    return images, labels.astype(np.int32 if labels.ndim == 1 else np.float32)


def _check_range(name: str, images: np.ndarray) -> None:
    if images.dtype == np.uint8:
        return
    sample = images[:32]
    lowest, highest = float(sample.min()), float(sample.max())
    if not (lowest >= 0 and highest <= 255) or (highest <= 1 and images.dtype.kind == "f" and highest > 0):
        raise DataError(
            f"The images of `{name}` must be RGB in [0, 255]. Received: numbers from {lowest:g} to {highest:g}. Undo "
            "the scaling; the backbone does its own."
        )


def divide_arrays(given: Mapping[str, Pair], amounts: Mapping[str, float | int], seed: int) -> dict[str, Pair]:
    """Draw the splits that are given as shares or numbers, by what the images hold: copies stay on one side."""
    divided = dict(given)
    pools = {"test": "validation" if "validation" in given else "train", "validation": "train"}
    for pool in ("train", "validation"):
        wanted = {
            split: amounts[split] for split in ("test", "validation") if split in amounts and pools[split] == pool
        }
        if not wanted:
            continue
        images, labels = given[pool]
        keys = list(map(bytes.hex, _split("", images, labels, ImageSpec(images.shape[1:3])).keys()))
        parts = stratified_split(keys, [str(label) for label in labels.tolist()], wanted, seed=seed, groups=keys)
        divided[pool] = images[parts["rest"]], labels[parts["rest"]]
        divided.update({split: (images[parts[split]], labels[parts[split]]) for split in wanted})
    return {name: divided[name] for name in SPLITS if name in divided}


def _split(name: str, images: np.ndarray, labels: np.ndarray, pixels: ImageSpec) -> Split:
    return Split(name, labels, pixels, images=images)


def array_names(given: Mapping[str, Pair], class_names: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the class names: as given, or "0", "1" and so on."""
    labels = given["train"][1]
    count = labels.shape[1] if labels.ndim == 2 else 1 + max(int(part[1].max()) for part in given.values())
    names = class_names or tuple(str(index) for index in range(count))
    if len(names) < count or (labels.ndim == 2 and len(names) != count):
        raise DataError(f"`class_names` must name {count} classes. Received: {list(names)}.")
    return names


def dataset_split(name: str, dataset: Any, pixels: ImageSpec, batch_size: int) -> Split:
    """Return a split of the user's own dataset, batched and resized where it is not yet.

    Raises:
        DataError: when it does not yield (images, labels), or pixels are not in [0, 255].
    """
    spec = getattr(dataset, "element_spec", None)
    if not isinstance(spec, tuple) or len(spec) != 2 or spec[0].shape.rank not in (3, 4) or spec[0].shape[-1] != 3:
        raise DataError(
            f"`{name}` must be a tf.data.Dataset of (images, labels), images (height, width, 3) or batches of them, as "
            f"`source` is: a dataset cannot be divided without leaks. Received: {dataset if spec is None else spec!r}."
        )
    if spec[0].shape.rank == 3:
        dataset = dataset.batch(batch_size)
    for images, _ in dataset.take(1):
        _check_range(name, images.numpy())
    if tuple(spec[0].shape[-3:-1]) != pixels.image_size:
        dataset = dataset.map(lambda images, labels: (tf.image.resize(images, pixels.image_size), labels))
    dataset = dataset.map(lambda images, labels: (tf.cast(images, tf.float32), labels)).prefetch(2)
    return Split(name, np.zeros(0, np.int32), pixels, stream=dataset)
