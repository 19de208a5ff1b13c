"""Data sets that are the user's tf.data.Dataset."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from transferkit.data.examples import Split
from transferkit.data.records import IMAGE_KEYS, LABEL_KEYS
from transferkit.data.weights import are_weights
from transferkit.errors import DataError
from transferkit.images.pixels import value_problem
from transferkit.images.spec import ImageSpec
from transferkit.images.tf_decoder import resize_tensor

# Batches (or images) that show whether labels (n, classes) are those of single classes.
_SAMPLED = 16


def dataset_splits(
    sources: Mapping[str, Any], image_spec: ImageSpec, batch_size: int, class_names: tuple[str, ...]
) -> dict[str, Split]:
    """Return a split for each dataset, batched and resized where it is not yet; one-hot labels become class indices.

    Raises:
        DataError: when a dataset does not yield (images, labels), or the images are not in [0, 255]. Later elements are
            checked when they are read.
    """
    arguments = {name: "source" if name == "train" else name for name in sources}
    sources = {name: _as_tuples(dataset) for name, dataset in sources.items()}
    for name, dataset in sources.items():
        _check_spec(arguments[name], dataset, len(class_names))
    one_hot = _are_one_hot(sources.values())
    return {
        name: Split(
            name,
            np.zeros(0, np.int32),
            image_spec,
            class_names,
            dataset=_batched(_Check(arguments[name], len(class_names), one_hot), dataset, image_spec, batch_size),
        )
        for name, dataset in sources.items()
    }


def _as_tuples(dataset: Any) -> Any:
    """Return a dataset of dictionaries, as those of TFDS, as one of (image, label)."""
    spec = getattr(dataset, "element_spec", None)
    if not isinstance(spec, dict):
        return dataset
    found = [[name for name in names if name in spec] for names in (IMAGE_KEYS, LABEL_KEYS)]
    if any(len(names) != 1 for names in found):
        return dataset
    (image,), (label,) = found
    return dataset.map(lambda element: (element[image], element[label]))


def _check_spec(name: str, dataset: Any, classes: int) -> None:
    """Raise a DataError for a dataset whose elements are not images with labels, or that has no end."""
    spec: Any = getattr(dataset, "element_spec", None)
    is_known = isinstance(spec, tuple) and len(spec) in (2, 3) and all(isinstance(s, tf.TensorSpec) for s in spec)
    if not is_known or spec[0].shape.rank not in (3, 4) or spec[0].shape[-1] != 3:
        raise DataError(
            f"`{name}` must be a tf.data.Dataset of (images, labels) or (images, labels, weights), images (height, "
            "width, 3) or batches of them, like `source`: a dataset cannot be split without leaks. Received: "
            f"{dataset if spec is None else spec!r}."
        )
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise DataError(f"`{name}` must have an end. Received: an infinite dataset. Remove repeat().")
    _check_label_spec(name, spec[1], spec[0].shape.rank - 2, classes)


def _check_label_spec(name: str, labels: tf.TensorSpec, matrix_rank: int, classes: int) -> None:
    if labels.dtype == tf.string:
        raise DataError(f"The labels of `{name}` must be finite numbers. Received: texts. Number the `class_names`.")
    if labels.shape.rank == matrix_rank and labels.shape[-1] not in (None, 1, classes):
        raise DataError(
            f"The labels of `{name}` must have one column for each of the {classes} `class_names`. Received: "
            f"{labels.shape[-1]} columns. Name all classes, or give class indices."
        )


def _are_one_hot(datasets: Iterable[tf.data.Dataset]) -> bool:
    """Return whether the first labels of every dataset are rows with exactly one 1."""
    for dataset in datasets:
        images, labels, *_ = dataset.element_spec
        if labels.shape.rank != images.shape.rank - 2 or labels.shape[-1] in (None, 1):
            return False
        for _, batch, *_ in dataset.take(_SAMPLED):
            if not _rows_are_one_hot(batch.numpy()):
                return False
    return True


def _rows_are_one_hot(labels: np.ndarray) -> bool:
    return bool((np.isin(labels, (0, 1)).all(axis=-1) & (labels.sum(axis=-1) == 1)).all())


def _batched(check: _Check, dataset: tf.data.Dataset, image_spec: ImageSpec, batch_size: int) -> tf.data.Dataset:
    images = dataset.element_spec[0]
    is_batched = images.shape.rank == 4
    first = next(iter(dataset.take(1)), None)
    if first is None:
        raise DataError(f"`{check.name}` must have at least one image. Received: an empty dataset. Check its filters.")
    check(*(part.numpy() for part in first))
    dataset = dataset.map(check.in_graph)
    if tuple(images.shape[-3:-1]) != image_spec.image_size:
        dataset = dataset.unbatch() if is_batched else dataset
        dataset, is_batched = dataset.map(lambda image, *rest: (resize_tensor(image, image_spec), *rest)), False
    dataset = dataset if is_batched else dataset.batch(batch_size)
    return dataset.map(functools.partial(_to_float, check.one_hot)).prefetch(2)


def _to_float(one_hot: bool, images: tf.Tensor, labels: tf.Tensor, *weights: tf.Tensor) -> tuple[tf.Tensor, ...]:
    labels = tf.argmax(labels, axis=-1, output_type=tf.int32) if one_hot else labels
    return tf.cast(images, tf.float32), labels, *(tf.cast(part, tf.float32) for part in weights)


class _Check:
    """Checks the elements of a dataset, one image or a batch of them, when they are read."""

    def __init__(self, name: str, classes: int, one_hot: bool) -> None:
        self.name, self.classes, self.one_hot = name, classes, one_hot

    def in_graph(self, *parts: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Return the same tensors, which raise an error where they are wrong."""
        with tf.control_dependencies([tf.numpy_function(self, parts, tf.bool)]):
            return tuple(map(tf.identity, parts))

    def __call__(self, images: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> bool:
        if problem := value_problem(images if images.ndim == 4 else images[None]):
            raise DataError(f"The images of `{self.name}` must be RGB in [0, 255]. {problem}")
        if labels.dtype.kind not in "iufb" or not np.isfinite(labels).all():
            raise self._error("finite numbers", labels)
        if labels.ndim < images.ndim - 2 or labels.shape[-1:] == (1,):
            if (labels % 1).any() or not 0 <= labels.min(initial=0) <= labels.max(initial=0) < self.classes:
                raise self._error(f"class indices from 0 to {self.classes - 1}", labels)
        elif self.one_hot and not _rows_are_one_hot(labels):
            raise self._error("rows with exactly one 1, like the first ones", labels)
        if weights is not None:
            self._check_weights(weights, images.shape[:-3])
        return True

    def _check_weights(self, weights: np.ndarray, shape: tuple[int, ...]) -> None:
        if weights.shape != shape:
            raise self._error(f"one number per image, of the shape {shape}", weights, "weights")
        if weights.dtype.kind not in "iuf" or not are_weights(weights):
            raise self._error("finite numbers of at least 0", weights, "weights")

    def _error(self, required: str, values: np.ndarray, kind: str = "labels") -> DataError:
        received = np.array2string(np.ravel(values), threshold=8, edgeitems=4)
        return DataError(f"The {kind} of `{self.name}` must be {required}. Received: {received}. Correct the dataset.")
