"""Batches of stored features, in the very order in which ordinary training takes the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from transferkit.data.pipeline import epoch_order
from transferkit.features.store import FeatureArray

_plain = tf.autograph.experimental.do_not_convert
# Up to this size features are held in memory; beyond it, a batch's rows are read from disk.
_IN_MEMORY_BYTES = 96 << 20
# Rows that go to TensorFlow at once: it copies what it is given more than once.
_ROWS_AT_ONCE = 2048
_EVALUATION_BATCH = 256
# From the rows of a batch and their views to (features, labels).
Gather = Callable[[tf.Tensor, tf.Tensor], tuple[Any, tf.Tensor]]
# One view of every image: an array (n, ...) for each tensor that crosses the cut.
View = tuple[np.ndarray | FeatureArray, ...]


def training_batches(
    views: Sequence[View], labels: np.ndarray, *, batch_size: int, seed: int, first_epoch: int, epochs: int
) -> tf.data.Dataset:
    """Return the batches (features, labels) of `epochs` epochs, one after another.

    In epoch e, image i comes in its view number (e + i) modulo the number of views: every epoch sees a mixture
    of all views, and after as many epochs as there are views each image was seen in each of them.

    Args:
        views: the images as they are and their draws, float32 or float16; batches are float32. Of stored arrays that
            are too large for memory only the rows of a batch are read.
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
        order = tf.ensure_shape(order, [count])
        return tf.data.Dataset.from_tensor_slices((order, (order + epoch) % len(views))).batch(batch_size)

    order = tf.data.Dataset.range(first_epoch, first_epoch + epochs).flat_map(rows_of)
    return _lean(order.map(_plain(_gatherer(views, labels))).prefetch(4))


def evaluation_batches(features: View, labels: np.ndarray) -> tf.data.Dataset:
    """Return the batches (features, labels) in the order of the rows, large ones: a mean does not depend on them."""
    if _fit_in_memory([features]) and all(array.dtype == np.float32 for array in features):
        # Keras makes an iterator for each validation, which takes a twentieth of the time without a function in it.
        tables = _as_given([_table([array]) for array in features])
        return _lean(tf.data.Dataset.from_tensor_slices((tables, labels)).batch(_EVALUATION_BATCH))
    rows = tf.data.Dataset.range(len(labels)).batch(_EVALUATION_BATCH)
    gather = _gatherer([features], labels)
    return _lean(rows.map(_plain(lambda chosen: gather(chosen, tf.zeros_like(chosen)))).prefetch(4))


def _lean(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return `dataset` without what tf.data does to be faster: looking for it takes longer than these few batches."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)


def _gatherer(views: Sequence[View], labels: np.ndarray) -> Gather:
    """Return what turns (rows, draws) into (features, labels): within TensorFlow where all fits, else through NumPy."""
    return _from_memory(views, labels) if _fit_in_memory(views) else _from_disk(views, labels)


def _fit_in_memory(views: Sequence[View]) -> bool:
    return sum(array.nbytes for view in views for array in view) <= _IN_MEMORY_BYTES


def _as_given(tensors: Sequence[Any]) -> Any:
    """Return what a model takes: one tensor as it is, several as a tuple."""
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def _from_memory(views: Sequence[View], labels: np.ndarray) -> Gather:
    tables = [_table([view[number] for view in views]) for number in range(len(views[0]))]
    targets = tf.constant(labels)

    def gather(rows: tf.Tensor, draws: tf.Tensor) -> tuple[Any, tf.Tensor]:
        places = draws * len(labels) + rows
        tensors = [tf.cast(tf.gather(table, places), tf.float32) for table in tables]
        return _as_given(tensors), tf.gather(targets, rows)

    return gather


def _table(arrays: Sequence[np.ndarray | FeatureArray]) -> tf.Tensor:
    parts = [
        tf.constant(array[start : start + _ROWS_AT_ONCE])
        for array in arrays
        for start in range(0, len(array), _ROWS_AT_ONCE)
    ]
    return tf.concat(parts, axis=0)


def _from_disk(views: Sequence[View], labels: np.ndarray) -> Gather:
    def read(rows: np.ndarray, draws: np.ndarray) -> list[np.ndarray]:
        tensors = [_rows(views, number, rows, draws) for number in range(len(views[0]))]
        return [*tensors, labels[rows]]

    def gather(rows: tf.Tensor, draws: tf.Tensor) -> tuple[Any, tf.Tensor]:
        kinds = [*(tf.float32 for _ in views[0]), tf.as_dtype(labels.dtype)]
        *tensors, target = tf.numpy_function(read, [rows, draws], kinds)
        for tensor, array in zip(tensors, views[0]):
            tensor.set_shape([None, *array.shape[1:]])
        target.set_shape([None, *labels.shape[1:]])
        return _as_given(tensors), target

    return gather


def _rows(views: Sequence[View], number: int, rows: np.ndarray, draws: np.ndarray) -> np.ndarray:
    gathered = np.empty((len(rows), *views[0][number].shape[1:]), "float32")
    for draw in np.unique(draws):
        gathered[draws == draw] = views[draw][number][rows[draws == draw]]
    return gathered
