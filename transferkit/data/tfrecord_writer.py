"""Writes a data set into one TFRecord file."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from transferkit._utils.files import atomic_write
from transferkit._utils.lazy import LazyModule
from transferkit.data.dataset import Data
from transferkit.data.tfrecord import SPLIT, WEIGHT
from transferkit.images.files import read_bytes

# Reading other kinds of data does not need TensorFlow.
tf: Any = LazyModule("tensorflow")
# The error numbers of the system that TensorFlow reports as these names; any other is an input/output error.
_ERROR_NUMBERS = {
    "OUT_OF_RANGE": errno.EFBIG,
    "RESOURCE_EXHAUSTED": errno.ENOSPC,
    "PERMISSION_DENIED": errno.EACCES,
}


def write_tfrecord(data: Data, path: str | os.PathLike[str]) -> None:
    """Write all images of a data set into one TFRecord file, which `DatasetBuilder(path)` reads.

    The encoded images are copied, and the splits and sample weights are kept. The file appears when it is complete.

    Args:
        data: `Data`. A data set of files.
        path: str or path ending in ".tfrecord". The new file.

    Raises:
        ValueError: when the data set has no files, or the path another extension.
        StorageError: when the file cannot be written. An existing file is kept.

    Example:

    >>> write_tfrecord(data, "images.tfrecord")  # doctest: +SKIP
    >>> DatasetBuilder("images.tfrecord").build()  # doctest: +SKIP
    """
    if not os.fspath(path).endswith(".tfrecord"):
        raise ValueError(f"`path` must end in '.tfrecord'. Received: {os.fspath(path)!r}.")
    with atomic_write(path, suffix=".tfrecord") as temporary:
        write_serialized(_records(data), temporary)


def write_serialized(records: Iterable[bytes], path: Path) -> None:
    """Write serialized records into a TFRecord file.

    Raises:
        OSError: when the file cannot be written.
    """
    with _os_errors(), tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for record in records:
            writer.write(record)


def serialize(
    encoded: bytes, name: bytes, labels: Sequence[str], split: str | None = None, weight: float | None = None
) -> bytes:
    """Return an encoded image with its label names as a serialized `tf.train.Example`."""
    values = {
        "image/encoded": [encoded],
        "image/name": [name],
        "image/labels": [label.encode("utf-8", "surrogateescape") for label in labels],
    }
    if split is not None:
        values[SPLIT] = [split.encode()]
    if weight is not None:
        values[WEIGHT] = [repr(weight).encode()]
    features = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=value)) for key, value in values.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Raise an OSError, which `atomic_write` reports, for an error of TensorFlow's file system."""
    try:
        yield
    except tf.errors.OpError as error:
        numbers = {getattr(tf.errors, name): number for name, number in _ERROR_NUMBERS.items()}
        number = numbers.get(error.error_code, errno.EIO)
        raise OSError(number, os.strerror(number)) from error


def _records(data: Data) -> Iterator[bytes]:
    for split in data.splits.values():
        if split.paths is None:
            raise ValueError(f"`data` must be made of files. Received: a split {split.name!r} of arrays or a dataset.")
        base = os.path.commonpath([os.path.dirname(path) for path in split.paths])
        weights = [None] * len(split) if split.weights is None else split.weights.tolist()
        for path, label, weight in zip(split.paths, split.labels, weights):
            names = [data.class_names[n] for n in (label.nonzero()[0] if data.multi_label else [label])]
            relative = os.fsencode(os.path.relpath(path, base).replace(os.sep, "/"))
            yield serialize(read_bytes(path)[1], relative, names, split.name, weight)
