"""Indexes data sets of other libraries, which are written into one TFRecord file in the cache folder each."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from transferkit._utils.cache_limit import cache_limit_bytes, evict, mark_used
from transferkit._utils.files import atomic_folder, cache_home, lock, storage_errors
from transferkit.data.cells import split_name
from transferkit.data.index import ImageIndex
from transferkit.data.records import name_labels, read_records
from transferkit.data.tfrecord import RECORD_OVERHEAD_BYTES, serialize, write_serialized
from transferkit.errors import DataError

_FILE = "records.tfrecord"


def index_records(source: Any, name: str, class_names: Sequence[str] | None) -> ImageIndex:
    """Return the index of a data set whose items are found by number.

    Raises:
        DataError: when its items are not images with labels.
        StorageError: when they cannot be written into the cache.
    """
    labels: list[Any] = []

    def encoded_images() -> Iterator[bytes]:
        for record in read_records(source, name):
            labels.append(record.label)
            yield record.encoded

    path, offsets, sample_ids = _cached(encoded_images())
    return ImageIndex(
        paths=tuple(f"{path}@{offset}" for offset in offsets),
        sample_ids=tuple(sample_ids),
        labels=tuple(name_labels(source, labels, name, class_names)),
        # Class indices without names are ordered as numbers.
        from_table=True,
    ).sorted()


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


def _cached(images: Iterable[bytes]) -> tuple[Path, list[int], list[str]]:
    """Write encoded images into a TFRecord file of the cache, where it is not there yet.

    Returns:
        The path of the file, whose name depends on the images, the offset of each image in it, and a name of each,
        from which its split follows: equal images in two data sets have the same name.
    """
    # A bad limit is refused before the work is done.
    cache_limit_bytes()
    root = cache_home() / "unpacked"
    offsets, names, digest = [0], [], hashlib.sha256()

    def records() -> Iterator[bytes]:
        for image in images:
            names.append(hashlib.sha256(image).hexdigest())
            digest.update(names[-1].encode())
            record = serialize(image, names[-1].encode())
            offsets.append(offsets[-1] + len(record) + RECORD_OVERHEAD_BYTES)
            yield record

    with storage_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        # The images are written before their file has a name, because reading them again may be slow.
        with tempfile.TemporaryDirectory(prefix=".records-", dir=root) as temporary:
            written = Path(temporary) / _FILE
            write_serialized(records(), written)
            folder = root / digest.hexdigest()[:32]
            _keep(written, folder, offsets[-1])
    evict(keep={folder})
    return folder / _FILE, offsets[:-1], names


def _keep(written: Path, folder: Path, size: int) -> None:
    """Move a file into its folder, unless it is there already."""
    with lock(folder.with_suffix(".lock")):
        # A program that cleans up caches may have deleted or cut the file alone.
        file = folder / _FILE
        if file.is_file() and file.stat().st_size == size:
            mark_used(folder)
            return
        with atomic_folder(folder) as target:
            os.replace(written, target / _FILE)
