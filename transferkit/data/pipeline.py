"""Batches for training and evaluation out of a split."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from transferkit.data.examples import Split
from transferkit.errors import ImageError
from transferkit.images.disk_cache import DiskImageCache
from transferkit.images.loading import image_batch_lists, stacked

_LOG = logging.getLogger("transferkit")
_SPLITS: weakref.WeakKeyDictionary[tf.data.Dataset, Split] = weakref.WeakKeyDictionary()


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of `count` examples in an epoch: a permutation, int64, that follows from the arguments alone.

    No state means that a run can be taken up at any epoch, and that features and images come in the same order.

    Args:
        count: number of examples.
        seed: in [0, 2**64).
        epoch: number of the epoch, from 0.

    >>> sorted(epoch_order(5, 0, 0).tolist())
    [0, 1, 2, 3, 4]
    """
    # Sorted raw bits: numpy promises that these stay the same in every version, but not its shuffling.
    drawn = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(count)
    return np.argsort(drawn, kind="stable").astype(np.int64)


def epochs_dataset(split: Split, *, batch_size: int, seed: int, first_epoch: int, epochs: int) -> tf.data.Dataset:
    """Return the batches (images, labels) of `epochs` epochs, one after another, each in its own order.

    The last batch of an epoch may be smaller; no batch holds images of two epochs.
    """

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for epoch in range(first_epoch, first_epoch + epochs):
            yield from _batches(split, batch_size, epoch_order(len(split), seed, epoch))

    return _dataset(batches, split)


def training_dataset(split: Split, *, batch_size: int, seed: int) -> tf.data.Dataset:
    """Return one epoch of batches (images, labels) that comes in another order each time it is iterated."""
    epoch = 0

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        nonlocal epoch
        order = epoch_order(len(split), seed, epoch)
        epoch += 1
        yield from _batches(split, batch_size, order)

    return registered(_counted(_dataset(batches, split), split, batch_size), split)


def evaluation_dataset(split: Split, *, batch_size: int) -> tf.data.Dataset:
    """Return the batches (images, labels) in the order of the split."""
    order = np.arange(len(split))
    return registered(_counted(_dataset(lambda: _batches(split, batch_size, order), split), split, batch_size), split)


def split_of(dataset: tf.data.Dataset) -> Split | None:
    """Return the split that one of this library's datasets was made of, or None for any other dataset."""
    return _SPLITS.get(dataset)


def _batches(split: Split, batch_size: int, order: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    starts = range(0, len(order), batch_size)
    if split.images is not None:
        for start in starts:
            rows = order[start : start + batch_size]
            yield split.images[rows], split.labels[rows]
        return
    assert split.paths is not None
    if split.store is None:
        batches = image_batch_lists(split.paths, split.image_spec, batch_size=batch_size, order=order)
    else:
        batches = (_stored(split.store, order[start : start + batch_size]) for start in starts)
    images, labels = np.empty(0), np.empty(0)
    for start, batch in zip(starts, batches):
        rows = order[start : start + batch_size]
        good = [number for number, image in enumerate(batch) if not _lost(image, split)]
        if good:
            images, labels = stacked([batch[number] for number in good]), split.labels[rows[good]]
        elif len(images):
            # The number of batches was promised, and an empty one has no loss: the last good image comes again.
            images, labels = images[-1:], labels[-1:]
        else:
            stacked(batch)
        yield images, labels


def _stored(store: DiskImageCache, rows: np.ndarray) -> list[np.ndarray | ImageError]:
    images: list[np.ndarray | ImageError] = []
    for row in rows:
        try:
            images.append(store.read(row))
        except ImageError as error:
            images.append(error)
    return images


def _lost(image: np.ndarray | ImageError, split: Split) -> bool:
    """Return whether an image that could be read when the data was built cannot be read any more."""
    if not isinstance(image, ImageError):
        return False
    if split.on_error == "raise":
        raise image
    # A run of hours must not end because a file was deleted meanwhile; the batch goes on without it.
    if image.path not in split.lost:
        split.lost[image.path] = image.reason
        _LOG.warning("%s; it is left out from now on", image)
    return True


def _dataset(batches: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]], split: Split) -> tf.data.Dataset:
    kind = tf.uint8 if split.images is None else tf.as_dtype(split.images.dtype)
    images = tf.TensorSpec((None, *split.image_spec.image_size, 3), kind)
    labels = tf.TensorSpec((None, *split.labels.shape[1:]), split.labels.dtype)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=(images, labels))
    # Bytes come out of Python, and are turned into floats outside of it.
    return dataset.map(lambda pixels, target: (tf.cast(pixels, tf.float32), target)).prefetch(2)


def _counted(dataset: tf.data.Dataset, split: Split, batch_size: int) -> tf.data.Dataset:
    return dataset.apply(tf.data.experimental.assert_cardinality(-(-len(split) // batch_size)))


def registered(dataset: tf.data.Dataset, split: Split) -> tf.data.Dataset:
    """Return `dataset`, from which `split_of` now finds `split`, for as long as the dataset lives."""
    _SPLITS[dataset] = split
    return dataset
