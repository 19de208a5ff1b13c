"""Batches for training and evaluation out of a split."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from transferkit.data.pixels import pixel_batches
from transferkit.data.records import Split

__all__ = ["epoch_order", "evaluation_dataset", "split_of", "training_dataset", "training_stream"]

_SPLITS: weakref.WeakKeyDictionary[tf.data.Dataset, Split] = weakref.WeakKeyDictionary()


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of `count` examples in an epoch: a permutation, int64, that follows from the arguments alone.

    No state means that a run can be taken up at any epoch, and that features and images come in the same order.

    >>> sorted(epoch_order(5, 0, 0).tolist())
    [0, 1, 2, 3, 4]
    """
    return np.random.default_rng([seed, epoch]).permutation(count)


def training_stream(split: Split, *, batch_size: int, seed: int, first_epoch: int, epochs: int) -> tf.data.Dataset:
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

    return _known(_counted(_dataset(batches, split), split, batch_size), split)


def evaluation_dataset(split: Split, *, batch_size: int) -> tf.data.Dataset:
    """Return the batches (images, labels) in the order of the split."""
    order = np.arange(len(split))
    return _known(_counted(_dataset(lambda: _batches(split, batch_size, order), split), split, batch_size), split)


def split_of(dataset: tf.data.Dataset) -> Split | None:
    """Return the split that one of this library's datasets was made of, or None for any other dataset."""
    return _SPLITS.get(dataset)


def _batches(split: Split, batch_size: int, order: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    starts = range(0, len(order), batch_size)
    if split.paths is not None:
        images = pixel_batches(split.paths, split.pixels, batch_size=batch_size, order=order)
    else:
        assert split.images is not None
        source = split.images
        images = (source[order[start : start + batch_size]] for start in starts)
    for start, batch in zip(starts, images):
        yield batch.astype("float32"), split.labels[order[start : start + batch_size]]


def _dataset(batches: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]], split: Split) -> tf.data.Dataset:
    images = tf.TensorSpec((None, *split.pixels.image_size, 3), tf.float32)
    labels = tf.TensorSpec((None, *split.labels.shape[1:]), split.labels.dtype)
    return tf.data.Dataset.from_generator(batches, output_signature=(images, labels)).prefetch(2)


def _counted(dataset: tf.data.Dataset, split: Split, batch_size: int) -> tf.data.Dataset:
    return dataset.apply(tf.data.experimental.assert_cardinality(-(-len(split) // batch_size)))


def _known(dataset: tf.data.Dataset, split: Split) -> tf.data.Dataset:
    _SPLITS[dataset] = split
    return dataset
