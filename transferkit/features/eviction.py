"""Removal of feature stores that exceed the size limit of the cache."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from transferkit._utils import cache_limit
from transferkit._utils.files import cache_home
from transferkit.features.shard_io import remove_stale


def root() -> Path:
    """Return the folder of all stores."""
    return cache_home() / "features"


def evict(keep: Collection[Path]) -> None:
    """Delete the least recently used entries of the cache until it fits its limit, but none in `keep` or in use.

    Files left by killed processes are deleted too.
    """
    for path in root().glob("*"):
        if path.is_dir():
            remove_stale(path)
    cache_limit.evict(keep)
