"""The source of a job: files of images, or archives of images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from transferkit._utils.checks import check_int
from transferkit.errors import DataError
from transferkit.sharding.archive_source import ArchiveSource
from transferkit.sharding.archives import archives_in, named_archives
from transferkit.sharding.image_source import ImageSource
from transferkit.sharding.manifest import read_manifest
from transferkit.sharding.source import Source

# At a hundred images a second, ten seconds of work: little is lost with a process, and a file is not too small.
SHARD_SIZE = 1024
_CLASSES: dict[str, type[Source]] = {source.kind: source for source in (ImageSource, ArchiveSource)}


def open_source(source: Any, shard_size: int | None = None) -> Source:
    """Return the images of a job.

    Args:
        source: as in `extract_features`.
        shard_size: images per shard; None for the default.

    Raises:
        DataError: when there are none.
        ValueError: if `shard_size` is out of its range, or given with archives.
    """
    size = SHARD_SIZE if shard_size is None else check_int("shard_size", shard_size)
    archives = named_archives(source)
    if archives is None:
        manifest = read_manifest(source)
        if len(manifest):
            return ImageSource(manifest, size)
        archives = archives_in(os.fspath(source)) if isinstance(source, (str, os.PathLike)) else []
    if not archives:
        raise DataError(f"`source` must have images. Received: {source!r}, with none. Check the path.")
    if shard_size is not None:
        raise ValueError(
            "`shard_size` must be left out where `source` is archives, each of which is one shard. Received: "
            f"{shard_size!r}."
        )
    return ArchiveSource(archives)


def load_source(values: Mapping[str, Any]) -> Source:
    """Return the source that `Source.to_dict` described, with its kind."""
    return _CLASSES[values["kind"]].from_dict(values)
