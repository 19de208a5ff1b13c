"""The source of a job: files of images, or archives of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transferkit._utils.checks import check_int
from transferkit.errors import DataError
from transferkit.sharding.image_source import ImageSource
from transferkit.sharding.manifest import read_manifest
from transferkit.sharding.source import Source

# At a hundred images a second, ten seconds of work: little is lost with a process, and a file is not too small.
SHARD_SIZE = 1024
_CLASSES: dict[str, type[Source]] = {source.kind: source for source in (ImageSource,)}


def open_source(source: Any, shard_size: int | None = None) -> Source:
    """Return the images of a job.

    Args:
        source: as in `extract_features`.
        shard_size: images per shard; None for the default.

    Raises:
        DataError: when there are none.
        ValueError: if `shard_size` is out of its range.
    """
    size = SHARD_SIZE if shard_size is None else check_int("shard_size", shard_size)
    manifest = read_manifest(source)
    if not len(manifest):
        raise DataError(f"`source` must have images. Received: {source!r}, with none. Check the path.")
    return ImageSource(manifest, size)


def load_source(values: Mapping[str, Any]) -> Source:
    """Return the source that `Source.to_dict` described, with its kind."""
    return _CLASSES[values["kind"]].from_dict(values)
