"""What the library keeps on disk between runs, and taking it away."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from pathlib import Path

from transferkit._utils.checks import check_choice
from transferkit._utils.files import cache_home
from transferkit.features.eviction import cache_limit_bytes, folder_size, remove_folder, remove_trash

# What can be made again; downloads and data sets are not among it.
_FOLDERS = ("features", "engines", "pixels", "unpacked")
_PARTS = (*_FOLDERS, "files")


@dataclasses.dataclass(frozen=True)
class CacheInfo:
    """How much is kept.

    Attributes:
        folder: where.
        bytes: part to its size in bytes: "features" (stored), "engines" (converted), "pixels" (decoded images),
            "unpacked" (archives), "files" (what is known of files by reading them).
        limit: how much the features may take, in bytes.
    """

    folder: str
    bytes: dict[str, int]
    limit: int

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in self.bytes.items())
        return f"{self.folder}: {parts}; features may take {self.limit / 1e9:,.1f} GB"


def info() -> CacheInfo:
    """Return how much space each part takes that can be made again.

    >>> info().bytes.keys()
    dict_keys(['features', 'engines', 'pixels', 'unpacked', 'files'])
    """
    sizes = {part: folder_size(cache_home() / part) for part in _FOLDERS}
    return CacheInfo(str(cache_home()), {**sizes, "files": sum(map(_size, _databases()))}, cache_limit_bytes())


def clear(*parts: str) -> None:
    """Remove what can be made again: all of it, or the parts that are named; it is made when it is needed.

    Processes that are at work go on with what they have open.

    Args:
        parts: names of `info().bytes`; none means all.

    Raises:
        ValueError: when there is no such part.

    >>> clear("features", "engines")
    """
    for part in [check_choice("parts", part, _PARTS) for part in parts] or _PARTS:
        if part == "files":
            for path in _databases():
                with contextlib.suppress(OSError):
                    path.unlink()
        elif not remove_folder(cache_home() / part):
            # Where open files hold a folder in its place, what is in it goes one by one, as far as it can.
            shutil.rmtree(cache_home() / part, ignore_errors=True)
    remove_trash(cache_home())


def _databases() -> list[Path]:
    return sorted(cache_home().glob("files-*.sqlite*"))


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
