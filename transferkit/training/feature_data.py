"""The cached features of a data set, and batches of them in the same order in which training on images takes images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from transferkit._utils.tf_data import without_autotuning
from transferkit.data.dataset import Data
from transferkit.data.examples import Split
from transferkit.data.pipeline import epoch_order
from transferkit.features.extraction import ExtractionJob, ExtractionOptions
from transferkit.features.store import FeatureArray
from transferkit.features.views import ORIGINAL, training_views
from transferkit.training.plan import ExtractionCost, Plan

_no_autograph = tf.autograph.experimental.do_not_convert
# Features up to this size are kept in memory; of larger ones, the rows of a batch are read from disk.
_IN_MEMORY_BYTES = 96 << 20
# Rows per conversion to a tensor: TensorFlow copies its input more than once.
_TENSOR_ROWS = 2048
_EVALUATION_BATCH = 256
# From the rows of a batch and the indices of their views to (features, labels), or (features, labels, weights).
Gather = Callable[[tf.Tensor, tf.Tensor], tuple[Any, ...]]
# One view of every image: an array (n, ...) for each tensor at the freeze boundary.
ViewArrays = tuple[np.ndarray | FeatureArray, ...]
# (labels,), or (labels, sample weights).
Targets = tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class CachedFeatures:
    """The features of the training and validation images.

    Attributes:
        views: for each view of the training images, one array per tensor at the freeze boundary.
        targets: (labels,), or (labels, weights) of the training images.
        validation: features and targets of the validation images, or None.
    """

    views: list[ViewArrays]
    targets: Targets
    validation: tuple[ViewArrays, Targets] | None

    @property
    def labels(self) -> np.ndarray:
        """The labels of the training images."""
        return self.targets[0]


def training_job(plan: Plan, data: Data, options: ExtractionOptions) -> ExtractionJob:
    """Return the extraction of all features of a phase; nothing is computed yet."""
    augmentation = plan.partition.augmentation
    requests: list[Any] = [(data.splits["train"], training_views(plan.num_views, augmentation))]
    if "validation" in data.splits:
        requests.insert(0, (data.splits["validation"], ORIGINAL))
    return ExtractionJob(plan.partition.frozen, requests, augmentation=augmentation, options=options)


def extraction_cost(plan: Plan, data: Data, options: ExtractionOptions) -> ExtractionCost:
    """Return what the features of a phase cost, without computing them."""
    job = training_job(plan, data, options)
    return ExtractionCost(job.num_rows, job.num_missing, job.estimate_seconds())


def load_features(plan: Plan, data: Data, options: ExtractionOptions) -> CachedFeatures:
    """Return all features of a phase, computing those that are not cached."""
    *validation, views = training_job(plan, data, options).run()
    labeled = (validation[0][0], _targets(data.splits["validation"])) if validation else None
    return CachedFeatures(views, _targets(data.splits["train"]), labeled)


def _targets(split: Split) -> Targets:
    return (split.labels,) if split.weights is None else (split.labels, split.weights)


def training_batches(
    views: Sequence[ViewArrays], targets: Targets, *, batch_size: int, seed: int, epochs: range
) -> tf.data.Dataset:
    """Return the batches (features, *targets) of several epochs in one dataset, float32.

    In epoch e, image i has its view number (e + i) modulo the number of views: every epoch has a mixture of all views,
    and after as many epochs as views each image has had each view. The last batch of an epoch may be smaller.
    """
    count = len(targets[0])

    # AutoGraph would take longer to convert these lines than the training takes.
    @_no_autograph
    def rows_of(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.numpy_function(lambda e: epoch_order(count, seed, int(e)), [epoch], tf.int64)
        order = tf.ensure_shape(order, [count])
        return tf.data.Dataset.from_tensor_slices((order, (order + epoch) % len(views))).batch(batch_size)

    order = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(rows_of)
    return _without_tf_data_optimizations(order.map(_no_autograph(_gather_fn(views, targets))).prefetch(4))


def evaluation_batches(features: ViewArrays, targets: Targets) -> tf.data.Dataset:
    """Return large batches (features, *targets) in the order of the rows."""
    if _fit_in_memory([features]) and all(array.dtype == np.float32 for array in features):
        # An iterator over a dataset without a function takes a twentieth of the time to create.
        tables = _unpack_single([_table([array]) for array in features])
        return _without_tf_data_optimizations(
            tf.data.Dataset.from_tensor_slices((tables, *targets)).batch(_EVALUATION_BATCH)
        )
    rows = tf.data.Dataset.range(len(targets[0])).batch(_EVALUATION_BATCH)
    gather = _gather_fn([features], targets)
    batches = rows.map(_no_autograph(lambda chosen: gather(chosen, tf.zeros_like(chosen))))
    return _without_tf_data_optimizations(batches.prefetch(4))


def _without_tf_data_optimizations(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return `dataset` without the optimizations of tf.data: analyzing it takes longer than these few batches."""
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return without_autotuning(dataset.with_options(options))


def _gather_fn(views: Sequence[ViewArrays], targets: Targets) -> Gather:
    """Return a function that gathers batches: in TensorFlow where all fits into memory, else by NumPy."""
    return _from_memory(views, targets) if _fit_in_memory(views) else _from_disk(views, targets)


def _fit_in_memory(views: Sequence[ViewArrays]) -> bool:
    return sum(array.nbytes for view in views for array in view) <= _IN_MEMORY_BYTES


def _unpack_single(tensors: Sequence[Any]) -> Any:
    """Return the input of a model: a single tensor, or a tuple of several."""
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def _from_memory(views: Sequence[ViewArrays], targets: Targets) -> Gather:
    tables = [_table([view[output] for view in views]) for output in range(len(views[0]))]
    constants = [tf.constant(target) for target in targets]

    def gather(rows: tf.Tensor, view_indices: tf.Tensor) -> tuple[Any, ...]:
        positions = view_indices * len(targets[0]) + rows
        tensors = [tf.cast(tf.gather(table, positions), tf.float32) for table in tables]
        return _unpack_single(tensors), *(tf.gather(target, rows) for target in constants)

    return gather


def _table(arrays: Sequence[np.ndarray | FeatureArray]) -> tf.Tensor:
    parts = [
        tf.constant(array[start : start + _TENSOR_ROWS])
        for array in arrays
        for start in range(0, len(array), _TENSOR_ROWS)
    ]
    return tf.concat(parts, axis=0)


def _from_disk(views: Sequence[ViewArrays], targets: Targets) -> Gather:
    def read(rows: np.ndarray, view_indices: np.ndarray) -> list[np.ndarray]:
        tensors = [_rows(views, output, rows, view_indices) for output in range(len(views[0]))]
        return [*tensors, *(target[rows] for target in targets)]

    def gather(rows: tf.Tensor, view_indices: tf.Tensor) -> tuple[Any, ...]:
        dtypes = [*(tf.float32 for _ in views[0]), *(tf.as_dtype(target.dtype) for target in targets)]
        tensors = tf.numpy_function(read, [rows, view_indices], dtypes)
        for tensor, array in zip(tensors, [*views[0], *targets]):
            tensor.set_shape([None, *array.shape[1:]])
        count = len(views[0])
        return _unpack_single(tensors[:count]), *tensors[count:]

    return gather


def _rows(views: Sequence[ViewArrays], output: int, rows: np.ndarray, view_indices: np.ndarray) -> np.ndarray:
    gathered = np.empty((len(rows), *views[0][output].shape[1:]), "float32")
    for view in np.unique(view_indices):
        gathered[view_indices == view] = views[view][output][rows[view_indices == view]]
    return gathered
