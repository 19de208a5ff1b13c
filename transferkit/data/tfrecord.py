"""TFRecord files of our own writing: many small files in one, each image as it was encoded, with its labels.

An image in such a file has a path of its own, "photos.tfrecord@1234", the place where its record begins; everything
that takes paths takes these, too.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator

import tensorflow as tf

from transferkit._utils.files import atomic_write
from transferkit.data.examples import Data
from transferkit.data.index import ImageIndex
from transferkit.errors import DataError, ImageError
from transferkit.images.files import open_regular

_PLACE = re.compile(r"(?s)(.+\.tfrecords?)@(\d+)")
# A record: its length, a checksum of that, the data, a checksum of those.
_HEAD, _TAIL = 12, 4
_FEATURES = ("image/encoded", "image/name", "image/labels", "image/split")


def write_tfrecord(data: Data, path: str | os.PathLike[str]) -> None:
    """Write all files of a data set into one TFRecord file, which `DatasetBuilder(path)` reads.

    The images are copied as they are encoded; the splits are kept. The file appears when it is whole.

    Args:
        data: a data set of files.
        path: of the new file; its name must end in ".tfrecord".

    Raises:
        ValueError: when the data set has no files, or the name another ending.

    Example:

    >>> write_tfrecord(data, "photos.tfrecord")  # doctest: +SKIP
    >>> DatasetBuilder("photos.tfrecord").build()  # doctest: +SKIP
    """
    if not os.fspath(path).endswith(".tfrecord"):
        raise ValueError(f"`path` must end in '.tfrecord'. Received: {os.fspath(path)!r}.")
    with atomic_write(path, suffix=".tfrecord") as temporary, tf.io.TFRecordWriter(os.fspath(temporary)) as writer:
        for record in _records(data):
            writer.write(record)


def index_tfrecord(path: str) -> ImageIndex:
    """Return the index of a file that `write_tfrecord` wrote.

    Raises:
        DataError: when it is missing, damaged, or not of our own writing.
    """
    rows = []
    try:
        for place, record in _places(path):
            fields = _parsed(record)
            name, labels, split = (fields[key] for key in _FEATURES[1:])
            texts = [label.decode("utf-8", "surrogateescape") for label in labels]
            rows.append((f"{path}@{place}", name[0].decode("utf-8", "surrogateescape"), texts, split[0].decode()))
    except (ImageError, KeyError, ValueError, IndexError, struct.error, OSError) as error:
        raise DataError(
            f"`source` must be a TFRecord file that transferkit's write_tfrecord wrote. Received: {path!r} ({error})."
        ) from error
    if not rows:
        raise DataError(f"`source` must hold images. Received: {path!r}, which is empty.")
    several = any(len(labels) != 1 for _, _, labels, _ in rows)
    return ImageIndex(
        paths=tuple(os.path.abspath(row[0]) for row in rows),
        names=tuple(row[1] for row in rows),
        labels=tuple(tuple(row[2]) if several else row[2][0] for row in rows),
        splits=tuple(row[3] for row in rows),
    ).sorted()


def parse_record_path(name: str) -> tuple[str, int] | None:
    """Return (file, place) of the path of a record, or None for any other path.

    >>> parse_record_path("photos.tfrecord@1234")
    ('photos.tfrecord', 1234)
    """
    found = _PLACE.fullmatch(name)
    return (found[1], int(found[2])) if found else None


def read_record(name: str) -> bytes:
    """Return the encoded image of a record.

    Raises:
        ImageError: when there is no such record.
    """
    file_and_place = parse_record_path(name)
    assert file_and_place is not None
    path, place = file_and_place
    with open_regular(path, largest=None) as file:
        file.seek(place)
        head = file.read(_HEAD)
        length = struct.unpack("<Q", head[:8])[0] if len(head) == _HEAD else 0
        record = file.read(length) if 0 < length <= os.fstat(file.fileno()).st_size else b""
    try:
        return _parsed(record)[_FEATURES[0]][0]
    except (KeyError, IndexError, ValueError) as error:
        raise ImageError(name, "there is no such record") from error


def _records(data: Data) -> Iterator[bytes]:
    from transferkit.images.pillow_decoder import read_bytes

    for split in data.splits.values():
        if split.paths is None:
            raise ValueError(f"`data` must be made of files. Received: a split {split.name!r} of arrays or a dataset.")
        base = os.path.commonpath([os.path.dirname(path) for path in split.paths])
        for path, label in zip(split.paths, split.labels):
            names = [data.class_names[n] for n in (label.nonzero()[0] if data.multi_label else [label])]
            values = {
                "image/encoded": [read_bytes(path)[1]],
                "image/name": [os.fsencode(os.path.relpath(path, base).replace(os.sep, "/"))],
                "image/labels": [name.encode("utf-8", "surrogateescape") for name in names],
                "image/split": [split.name.encode()],
            }
            features = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=v)) for key, v in values.items()}
            yield tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _places(path: str) -> Iterator[tuple[int, bytes]]:
    with open_regular(path, largest=None) as file:
        size, place = os.fstat(file.fileno()).st_size, 0
        while place < size:
            length = struct.unpack("<Q", file.read(_HEAD)[:8])[0]
            if place + _HEAD + length + _TAIL > size:
                raise ValueError("it is truncated")
            yield place, file.read(length)
            place += _HEAD + length + _TAIL
            file.seek(place)


def _parsed(record: bytes) -> dict[str, list[bytes]]:
    try:
        features = tf.train.Example.FromString(record).features.feature
    except Exception as error:
        # The class of this error belongs to whichever protobuf is installed.
        raise ValueError("a record is damaged") from error
    return {key: list(features[key].bytes_list.value) for key in _FEATURES if key in features}
