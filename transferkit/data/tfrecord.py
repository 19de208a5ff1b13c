"""TFRecord files written by transferkit: many encoded images in one file, with their labels.

An image in such a file has the path "images.tfrecord@1234", in which the number is the offset of its record.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from transferkit.data.index import ImageIndex
from transferkit.data.weights import parse_weights
from transferkit.errors import DataError, ImageError
from transferkit.images.files import RECORD_HEADER_BYTES, open_regular, parse_example

_FEATURES = ("image/name", "image/labels")
# Features that a record need not have.
SPLIT, WEIGHT = "image/split", "image/weight"
_CHECKSUM_BYTES = 4
# What a record has around its contents.
RECORD_OVERHEAD_BYTES = RECORD_HEADER_BYTES + _CHECKSUM_BYTES


def index_tfrecord(path: str) -> ImageIndex:
    """Return the index of a file written by `write_tfrecord`.

    Raises:
        DataError: when the file is missing, damaged or in another layout.
    """
    rows = []
    splits: list[str | None] = []
    weights: list[bytes | None] = []
    try:
        for offset, record in _iter_records(path):
            fields = parse_example(record, (*_FEATURES, SPLIT, WEIGHT))
            name, labels = (fields[key] for key in _FEATURES)
            texts = [label.decode("utf-8", "surrogateescape") for label in labels]
            rows.append((f"{path}@{offset}", name[0].decode("utf-8", "surrogateescape"), texts))
            splits.append(fields[SPLIT][0].decode() if SPLIT in fields else None)
            weights.append(fields[WEIGHT][0] if WEIGHT in fields else None)
    except (ImageError, KeyError, ValueError, IndexError, struct.error, OSError) as error:
        raise DataError(
            f"`source` must be a TFRecord file written by transferkit's write_tfrecord. Received: {path!r} ({error})."
        ) from error
    if not rows:
        raise DataError(f"`source` must have images. Received: {path!r}, which is empty.")
    multi_label = any(len(labels) != 1 for _, _, labels in rows)
    return ImageIndex(
        paths=tuple(os.path.abspath(row[0]) for row in rows),
        sample_ids=tuple(row[1] for row in rows),
        labels=tuple(tuple(row[2]) if multi_label else row[2][0] for row in rows),
        splits=tuple(splits) if any(splits) else None,
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
