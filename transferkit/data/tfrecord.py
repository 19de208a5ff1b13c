"""TFRecord files of transferkit: many encoded images in one file, with their labels.

An image in such a file has the path "images.tfrecord@1234", in which the number is the offset of its record.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from transferkit._utils.lazy import LazyModule
from transferkit.data.index import ImageIndex
from transferkit.data.weights import parse_weights
from transferkit.errors import DataError, ImageError
from transferkit.images.files import RECORD_HEADER_BYTES, open_regular, parse_example

# Reading other kinds of data does not need TensorFlow.
tf: Any = LazyModule("tensorflow")
# The error numbers of the system that TensorFlow reports as these names; any other is an input/output error.
_ERROR_NUMBERS = {
    "OUT_OF_RANGE": errno.EFBIG,
    "RESOURCE_EXHAUSTED": errno.ENOSPC,
    "PERMISSION_DENIED": errno.EACCES,
}
_FEATURES = ("image/name", "image/labels", "image/split")
_WEIGHT = "image/weight"
_CHECKSUM_BYTES = 4
# What a record has around its contents.
RECORD_OVERHEAD_BYTES = RECORD_HEADER_BYTES + _CHECKSUM_BYTES


def index_tfrecord(path: str) -> ImageIndex:
    """Return the index of a file written by `write_tfrecord`.

    Raises:
        DataError: when the file is missing, damaged or in another layout.
    """
    rows = []
    weights: list[bytes | None] = []
    try:
        for offset, record in _iter_records(path):
            fields = parse_example(record, (*_FEATURES, _WEIGHT))
            name, labels, split = (fields[key] for key in _FEATURES)
            texts = [label.decode("utf-8", "surrogateescape") for label in labels]
            rows.append((f"{path}@{offset}", name[0].decode("utf-8", "surrogateescape"), texts, split[0].decode()))
            weights.append(fields[_WEIGHT][0] if _WEIGHT in fields else None)
    except (ImageError, KeyError, ValueError, IndexError, struct.error, OSError) as error:
        raise DataError(
            f"`source` must be a TFRecord file written by transferkit's write_tfrecord. Received: {path!r} ({error})."
        ) from error
    if not rows:
        raise DataError(f"`source` must have images. Received: {path!r}, which is empty.")
    multi_label = any(len(labels) != 1 for _, _, labels, _ in rows)
    return ImageIndex(
        paths=tuple(os.path.abspath(row[0]) for row in rows),
        sample_ids=tuple(row[1] for row in rows),
        labels=tuple(tuple(row[2]) if multi_label else row[2][0] for row in rows),
        splits=tuple(row[3] for row in rows),
        weights=_weights(weights, path) if any(weights) else None,
    ).sorted()


def _weights(texts: list[bytes | None], path: str) -> tuple[float, ...]:
    values = [1.0 if text is None else text.decode("ascii", "replace") for text in texts]
    return parse_weights(values, lambda row: f"the weight of record {row} of {path!r}")


def _iter_records(path: str) -> Iterator[tuple[int, bytes]]:
    with open_regular(path, max_bytes=None) as file:
        size, offset = os.fstat(file.fileno()).st_size, 0
        while offset < size:
            length = struct.unpack("<Q", file.read(RECORD_HEADER_BYTES)[:8])[0]
            end = offset + RECORD_HEADER_BYTES + length + _CHECKSUM_BYTES
            if end > size:
                raise ValueError("it is truncated")
            yield offset, file.read(length)
            offset = end
            file.seek(offset)


def write_serialized(records: Iterable[bytes], path: Path) -> None:
    """Write serialized records into a TFRecord file.

    Raises:
        OSError: when the file cannot be written.
    """
    with _os_errors(), tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for record in records:
            writer.write(record)


def serialize(
    encoded: bytes, name: bytes, *, labels: Sequence[str] = (), split: str = "", weight: float | None = None
) -> bytes:
    """Return an encoded image with its label names as a serialized `tf.train.Example`."""
    values = {
        "image/encoded": [encoded],
        "image/name": [name],
        "image/labels": [label.encode("utf-8", "surrogateescape") for label in labels],
        "image/split": [split.encode()],
    }
    if weight is not None:
        values[_WEIGHT] = [repr(weight).encode()]
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
