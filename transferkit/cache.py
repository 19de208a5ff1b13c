"""What the library keeps on disk between runs, and taking it away."""

from __future__ import annotations

import dataclasses
import shutil

from transferkit._storage import home
from transferkit.features.store import limit_bytes

__all__ = ["CacheInfo", "clear", "info"]

# What can be made again; downloads and data sets are not among it.
_PARTS = ("features", "engines", "pixels", "unpacked")


@dataclasses.dataclass(frozen=True)
class CacheInfo:
    """How much is kept.

    Attributes:
        folder: where.
        bytes: part ("features", "engines", "pixels", "unpacked") to its size in bytes.
        limit: how much the features may take, in bytes.
    """

    folder: str
    bytes: dict[str, int]
    limit: int

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in self.bytes.items())
        return f"{self.folder}: {parts}; features may take {self.limit / 1e9:,.1f} GB"


def info() -> CacheInfo:
    """Return how much space stored features, converted engines, decoded images and unpacked archives take.

    >>> info().bytes.keys()
    dict_keys(['features', 'engines', 'pixels', 'unpacked'])
    """
    sizes = {part: sum(path.stat().st_size for path in (home() / part).rglob("*") if path.is_file()) for part in _PARTS}
    return CacheInfo(str(home()), sizes, limit_bytes())


def clear() -> None:
    """Remove all of that, and what is known of files by reading them; it is made again when it is needed."""
    for part in _PARTS:
        shutil.rmtree(home() / part, ignore_errors=True)
    for path in home().glob("files-*.sqlite*"):
        path.unlink(missing_ok=True)
