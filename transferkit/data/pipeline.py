"""Batches for training and evaluation from a split, of images or, where it has them, of stored features."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from tensorflow.python.data.ops import dataset_ops

from transferkit._utils.tf_data import without_autotuning
from transferkit.data.examples import Split
from transferkit.errors import ImageError
from transferkit.images.disk_cache import DiskImageCache
from transferkit.images.loading import image_batch_lists, stack_images

_LOG = logging.getLogger("transferkit")
# Transformations of tf.data that keep the elements and their order.
_SAME_ELEMENTS = ("_PrefetchDataset", "_OptionsDataset", "CacheDataset", "_AssertCardinalityDataset")
# (images, labels), or (images, labels, weights) where the split has weights.
Batch = tuple[np.ndarray, ...]
Batches = Iterator[Batch]


class SplitDataset(dataset_ops.UnaryUnchangedStructureDataset):
    """A tf.data.Dataset that knows the split that it was made from.

    Attributes:
        split: the `Split`, which also is found from datasets derived from this one; see `split_of`.
    """

    def __init__(self, dataset: tf.data.Dataset, split: Split) -> None:
        self.split = split
        super().__init__(dataset, dataset._variant_tensor)


def split_of(dataset: tf.data.Dataset, *, same_elements: bool = True) -> Split | None:
    """Return the split from which a dataset was made, or None for a dataset of another origin.

    With `same_elements`, only transformations that keep the elements and their order (such as `prefetch`) may lie
    between; without, any transformation with one input (such as `map` or `shuffle`).
    """
    while not isinstance(dataset, SplitDataset):
        inputs = dataset._inputs()
        if len(inputs) != 1 or (same_elements and type(dataset).__name__ not in _SAME_ELEMENTS):
            return None
        dataset = inputs[0]
    return dataset.split


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of `count` examples in an epoch: an int64 permutation that follows from the arguments alone.

    Without state, a run can be resumed at any epoch, and features come in the same order as images.

    >>> sorted(epoch_order(5, 0, 0).tolist())
    [0, 1, 2, 3, 4]
    """
    # Sorted raw bits: NumPy guarantees them across versions, unlike the results of its shuffle.
    bits = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(count)
    return np.argsort(bits, kind="stable").astype(np.int64)


def epochs_dataset(split: Split, *, batch_size: int, seed: int, first_epoch: int, epochs: int) -> tf.data.Dataset:
    """Return the batches (images, labels) of several epochs in one dataset, each epoch in its own order.

    A split with weights has batches (images, labels, weights), here and below. The last batch of an epoch may be
    smaller; no batch has images of two epochs.
    """

    def batches() -> Batches:
        for epoch in range(first_epoch, first_epoch + epochs):
            yield from _batches(split, batch_size, epoch_order(len(split), seed, epoch))

    return _dataset(batches, split)


def training_dataset(split: Split, *, batch_size: int, seed: int) -> tf.data.Dataset:
    """Return one epoch of batches (images, labels), in another order each time it is iterated."""
    epochs = itertools.count()
    order = (epoch_order(len(split), seed, epoch) for epoch in epochs)
    return _split_dataset(lambda: _batches(split, batch_size, next(order)), split, batch_size)


def evaluation_dataset(split: Split, *, batch_size: int) -> tf.data.Dataset:
    """Return the batches (images, labels) in the order of the split."""
    return _split_dataset(lambda: _batches(split, batch_size, np.arange(len(split))), split, batch_size)


def _split_dataset(batches: Callable[[], Batches], split: Split, batch_size: int) -> SplitDataset:
    cardinality = tf.data.experimental.assert_cardinality(-(-len(split) // batch_size))
    return SplitDataset(_dataset(batches, split).apply(cardinality), split)


def _dataset(batches: Callable[[], Batches], split: Split) -> tf.data.Dataset:
    array = split.images if split.features is None else split.features.array
    shape = (*split.image_spec.image_size, 3) if array is None else array.shape[1:]
    images = tf.TensorSpec((None, *shape), tf.uint8 if array is None else tf.as_dtype(array.dtype))
    targets = [tf.TensorSpec((None, *column.shape[1:]), column.dtype) for column in _targets(split)]
    dataset = tf.data.Dataset.from_generator(batches, output_signature=(images, *targets))
    # uint8 leaves Python; the conversion to float32 runs outside of it.
    dataset = dataset.map(lambda image, *target: (tf.cast(image, tf.float32), *target))
    return without_autotuning(dataset.prefetch(2))


def _targets(split: Split) -> Batch:
    return (split.labels,) if split.weights is None else (split.labels, split.weights)


def _batches(split: Split, batch_size: int, order: np.ndarray) -> Batches:
    starts, targets = range(0, len(order), batch_size), _targets(split)
    array = split.images if split.features is None else split.features.array
    if array is not None:
        for start in starts:
            rows = order[start : start + batch_size]
            yield array[rows], *(column[rows] for column in targets)
        return
    assert split.paths is not None
    if split.image_cache is None:
        loaded = image_batch_lists(
            split.paths, split.image_spec, batch_size=batch_size, order=order, cache=split.memory_cache
        )
    else:
        loaded = (_read_cached(split.image_cache, order[start : start + batch_size]) for start in starts)
    images, target = np.empty(0), targets
    for start, batch in zip(starts, loaded):
        rows = order[start : start + batch_size]
        readable = [index for index, image in enumerate(batch) if not _skip_unreadable(image, split)]
        if readable:
            images = stack_images([batch[index] for index in readable])
            target = tuple(column[rows[readable]] for column in targets)
        elif len(images):
            # The number of batches is fixed and an empty batch has no loss, so the last readable image is repeated.
            images, target = images[-1:], tuple(column[-1:] for column in target)
        else:
            stack_images(batch)
        yield images, *target


def _read_cached(cache: DiskImageCache, rows: np.ndarray) -> list[np.ndarray | ImageError]:
    images: list[np.ndarray | ImageError] = []
    for row in rows:
        try:
            images.append(cache.read(row))
        except ImageError as error:
            images.append(error)
    return images


def _skip_unreadable(image: np.ndarray | ImageError, split: Split) -> bool:
    """Return whether an image that was readable when the data set was built is to be skipped now."""
    if not isinstance(image, ImageError):
        return False
    if split.on_error == "raise":
        raise image
    # A run of hours must not end because a file was deleted meanwhile.
    if image.path not in split.unreadable:
        split.unreadable[image.path] = image.reason
        _LOG.warning("%s; it is skipped from now on", image)
    return True
