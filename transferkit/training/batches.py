"""Batches of stored features, in the very order in which ordinary training takes the images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from transferkit.data.pipeline import epoch_order
from transferkit.features.store import StoredArray

__all__ = ["evaluation_batches", "training_batches"]

_plain = tf.autograph.experimental.do_not_convert
# One draw of every image: an array (n, ...) for each tensor that crosses the cut.
View = tuple[np.ndarray | StoredArray, ...]


def training_batches(
    views: Sequence[View], labels: np.ndarray, *, batch_size: int, seed: int, first_epoch: int, epochs: int
) -> tf.data.Dataset:
    """Return the batches (features, labels) of `epochs` epochs, one after another.

    In epoch e, image i comes in its draw number (e + i) modulo the number of draws: every epoch sees a mixture
    of all draws, and after as many epochs as there are draws each image was seen in each of them.

    Args:
        views: the draws of the images; arrays may be memory-mapped, and only the rows of a batch are read.
        labels: (n,) or (n, classes).
        batch_size: rows in a batch; the last one of an epoch may have fewer.
        seed: of the order.
        first_epoch: number of the first epoch, from 0.
        epochs: number of epochs.
    """
    count = len(labels)

    # AutoGraph would take longer to rewrite these few lines than the training takes.
    @_plain
    def rows_of(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.numpy_function(lambda e: epoch_order(count, seed, int(e)), [epoch], tf.int64)
        rows = tf.data.Dataset.from_tensor_slices(tf.ensure_shape(order, [count])).batch(batch_size)
        return rows.map(_plain(lambda chosen: (chosen, (chosen + epoch) % len(views))))

    order = tf.data.Dataset.range(first_epoch, first_epoch + epochs).flat_map(rows_of)
    return order.map(_plain(lambda rows, draws: _gather(views, labels, rows, draws))).prefetch(4)


def evaluation_batches(features: View, labels: np.ndarray, *, batch_size: int) -> tf.data.Dataset:
    """Return the batches (features, labels) in the order of the rows."""
    rows = tf.data.Dataset.range(len(labels)).batch(batch_size)
    return rows.map(_plain(lambda chosen: _gather([features], labels, chosen, tf.zeros_like(chosen)))).prefetch(4)


def _gather(
    views: Sequence[View], labels: np.ndarray, rows: tf.Tensor, draws: tf.Tensor
) -> tuple[tf.Tensor | tuple[tf.Tensor, ...], tf.Tensor]:
    def read(rows: np.ndarray, draws: np.ndarray) -> list[np.ndarray]:
        tensors = [_rows(views, number, rows, draws) for number in range(len(views[0]))]
        return [*tensors, labels[rows]]

    kinds = [*(tf.float32 for _ in views[0]), tf.as_dtype(labels.dtype)]
    *tensors, target = tf.numpy_function(read, [rows, draws], kinds)
    for tensor, array in zip(tensors, views[0]):
        tensor.set_shape([None, *array.shape[1:]])
    target.set_shape([None, *labels.shape[1:]])
    return (tensors[0] if len(tensors) == 1 else tuple(tensors)), target


def _rows(views: Sequence[View], number: int, rows: np.ndarray, draws: np.ndarray) -> np.ndarray:
    if len(views) == 1:
        return np.asarray(views[0][number][rows], "float32")
    gathered = np.empty((len(rows), *views[0][number].shape[1:]), "float32")
    for draw in np.unique(draws):
        gathered[draws == draw] = views[draw][number][rows[draws == draw]]
    return gathered
