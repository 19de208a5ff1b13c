"""Indexes data sets of other libraries, which are written into one TFRecord file in the cache folder each."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from transferkit._utils.cache_limit import cache_limit_bytes, evict, mark_used
from transferkit._utils.files import atomic_folder, cache_home, lock
from transferkit.data.cells import split_name
from transferkit.data.index import ImageIndex
from transferkit.data.records import Record, read_records
from transferkit.data.tfrecord import RECORD_OVERHEAD_BYTES, index_tfrecord, serialize, write_serialized
from transferkit.errors import DataError

_FILE = "records.tfrecord"


def index_records(source: Any, name: str, class_names: Sequence[str] | None) -> ImageIndex:
    """Return the index of a data set whose items are found by number.

    Raises:
        DataError: when its items are not images with labels.
        StorageError: when they cannot be written into the cache.
    """
    path = _cached(functools.partial(read_records, source, name, class_names))
    # Class indices without names are ordered as numbers.
    return dataclasses.replace(index_tfrecord(str(path)), from_table=True)


def index_record_splits(
    sources: Mapping[str, Any], name: str, class_names: Sequence[str] | None
) -> tuple[dict[str, ImageIndex], list[str]]:
    """Return the index of each split of a dictionary of data sets, and notes; as `index_records`."""
    splits = {key: split_name(str(key)) for key in sources}
    found = [split for split in splits.values() if split is not None]
    if not found or len(set(found)) < len(found):
        raise DataError(
            f"`{name}` must have one data set for each of the splits train, validation and test. Received: the keys "
            f"{list(sources)[:20]}. Give a dictionary with these names."
        )
    notes = [f"left out the data set {key!r}, which is no split" for key, split in splits.items() if split is None]
    return {
        split: index_records(sources[key], f"{name}[{key!r}]", class_names)
        for key, split in splits.items()
        if split is not None
    }, notes


def _cached(read: Callable[[], Iterable[Record]]) -> Path:
    """Return the path of a TFRecord file of the records that `read` returns, which is written where necessary.

    The records are read twice rather than kept in memory: their contents decide the name of the file.
    """
    # A bad limit is refused before the work is done.
    cache_limit_bytes()
    digest, size = hashlib.sha256(), 0
    for record in _serialized(read()):
        digest.update(hashlib.sha256(record).digest())
        size += len(record) + RECORD_OVERHEAD_BYTES
    folder = cache_home() / "unpacked" / digest.hexdigest()[:32]
    file = folder / _FILE
    with lock(folder.with_suffix(".lock")):
        # A program that cleans up caches may have deleted the file alone.
        if file.is_file() and file.stat().st_size == size:
            mark_used(folder)
            return file
        with atomic_folder(folder) as temporary:
            write_serialized(_serialized(read()), temporary / _FILE)
    evict(keep={folder})
    return file


def _serialized(records: Iterable[Record]) -> Iterator[bytes]:
    for encoded, label in records:
        # Splits follow from names: equal images in two data sets have the same name.
        name = hashlib.sha256(encoded).hexdigest()
        yield serialize(encoded, name.encode(), label if isinstance(label, tuple) else (label,))
