"""Evaluation of a classifier that may come from a file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from transferkit._utils.text import printable
from transferkit.data.element_errors import element_errors
from transferkit.data.examples import Split
from transferkit.errors import DataError, ImageError

_LOG = logging.getLogger("transferkit")


def evaluate_classifier(classifier: Any, dataset: Any) -> Any:
    """Return the report of an `ImageClassifier` on `Data`, a split or a tf.data.Dataset of (images, labels)."""
    split = _split_of(dataset)
    if split is not None:
        classifier.outputs.check_split(split)
    pairs = _labeled_batches(classifier, dataset) if split is None or split.dataset is not None else None
    predictions, labels = _from_split(classifier, split) if pairs is None else _from_batches(classifier, pairs)
    if not predictions:
        raise DataError("`dataset` must have a labeled image that can be read. Received: none. See data.report.")
    paths = [one.path for one in predictions]
    return classifier.outputs.report(np.asarray(labels), predictions, None if None in paths else paths)


def _split_of(dataset: Any) -> Split | None:
    """Return the split to evaluate on, or None for a tf.data.Dataset of the user."""
    splits = getattr(dataset, "splits", None)
    if isinstance(splits, dict):
        split = splits.get("test") or splits.get("validation")
        if split is None:
            raise DataError(
                "`dataset` must have a test or a validation split. Received: data with training images alone. Give "
                "data.train, or build the data with test=0.2."
            )
        return split
    split = dataset if isinstance(dataset, Split) else getattr(dataset, "split", None)
    if isinstance(split, Split):
        return split
    if not hasattr(dataset, "element_spec"):
        raise TypeError(
            "`dataset` must be Data, one of its splits, or a tf.data.Dataset of (images, labels). Received: "
            f"{type(dataset).__name__}. Build it with tk.DatasetBuilder(...).build()."
        )
    return None


def _from_split(classifier: Any, split: Split | None) -> tuple[list[Any], np.ndarray]:
    assert split is not None
    predictions = list(classifier.iter_predict(split))
    errors = [one for one in predictions if one.error is not None]
    if errors and split.on_error == "raise":
        raise ImageError(errors[0].path or "", errors[0].error or "")
    for one in errors:
        _LOG.warning("%s is skipped: %s.", printable(one.path), one.error)
    readable = [one.error is None for one in predictions]
    return [one for one in predictions if one.error is None], split.labels[readable]


def _labeled_batches(classifier: Any, dataset: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the images and labels of each batch of a tf.data.Dataset."""
    split = _split_of(dataset)
    elements = (dataset if split is None else split.dataset).as_numpy_iterator()
    while True:
        with element_errors():
            element = next(elements, None)
        if element is None:
            return
        if not isinstance(element, tuple) or len(element) < 2 or np.ndim(element[0]) != 4:
            raise TypeError(
                "`dataset` must have batches (images, labels). Received: elements of the type "
                f"{type(element).__name__}. Use dataset.batch(32)."
            )
        yield element[0], np.asarray(element[1])


def _from_batches(classifier: Any, batches: Iterator[tuple[np.ndarray, np.ndarray]]) -> tuple[list[Any], np.ndarray]:
    labels: list[np.ndarray] = []

    def images() -> Iterator[np.ndarray]:
        # Labels are read in the same pass: a dataset that shuffles has another order in the next.
        for batch, batch_labels in batches:
            labels.extend(batch_labels)
            yield from batch

    predictions = list(classifier.iter_predict(images()))
    return predictions, np.stack(labels) if labels else np.zeros(0)
