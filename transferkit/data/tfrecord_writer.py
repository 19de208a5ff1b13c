"""Writes a data set into one TFRecord file."""

from __future__ import annotations

import os
from collections.abc import Iterator

from transferkit._utils.files import atomic_write
from transferkit.data.dataset import Data
from transferkit.data.numbers import require_classes
from transferkit.data.stored_features import require_images
from transferkit.data.tfrecord import serialize, write_serialized
from transferkit.images.files import read_bytes


def write_tfrecord(data: Data, path: str | os.PathLike[str]) -> None:
    """Write all images of a data set into one TFRecord file, which `DatasetBuilder(path)` reads.

    The encoded images are copied, and the splits and sample weights are kept. The file appears when it is complete.

    Args:
        data: `Data`. A data set of files.
        path: str or path ending in ".tfrecord". The new file.

    Raises:
        DataError: for data with numbers as labels.
        ValueError: when the data set has no files, or the path another extension.
        StorageError: when the file cannot be written. An existing file is kept.

    Example:

    >>> write_tfrecord(data, "images.tfrecord")  # doctest: +SKIP
    >>> DatasetBuilder("images.tfrecord").build()  # doctest: +SKIP
    """
    require_classes(data, "`write_tfrecord`")
    if not os.fspath(path).endswith(".tfrecord"):
        raise ValueError(f"`path` must end in '.tfrecord'. Received: {os.fspath(path)!r}.")
    with atomic_write(path, suffix=".tfrecord") as temporary:
        write_serialized(_records(data), temporary)


def _records(data: Data) -> Iterator[bytes]:
    for split in data.splits.values():
        require_images(split, "`write_tfrecord`")
        if split.paths is None:
            raise ValueError(f"`data` must be made of files. Received: a split {split.name!r} of arrays or a dataset.")
        base = os.path.commonpath([os.path.dirname(path) for path in split.paths])
        weights = [None] * len(split) if split.weights is None else split.weights.tolist()
        for path, label, weight in zip(split.paths, split.labels, weights):
            names = [data.class_names[n] for n in (label.nonzero()[0] if data.multi_label else [label])]
            relative = os.fsencode(os.path.relpath(path, base).replace(os.sep, "/"))
            yield serialize(read_bytes(path)[1], relative, labels=names, split=split.name, weight=weight)
