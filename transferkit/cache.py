"""Inspects and clears the on-disk cache. Downloads and datasets are not part of it."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from pathlib import Path

from transferkit._utils.checks import check_choice
from transferkit._utils.files import cache_home
from transferkit.features.eviction import cache_limit_bytes, folder_size, remove_folder, remove_trash

_FOLDERS = ("features", "engines", "images", "unpacked")
_CACHES = (*_FOLDERS, "file_info")


@dataclasses.dataclass(frozen=True, repr=False)
class CacheInfo:
    """Sizes of the caches.

    Attributes:
        folder: str, the cache folder.
        sizes: dict from the name of a cache to its size in bytes: "features" (extracted features), "engines" (compiled
            engines), "images" (decoded images), "unpacked" (archives) and "file_info" (metadata of image files).
        limit: int, the size limit of the features in bytes.
    """

    folder: str
    sizes: dict[str, int]
    limit: int

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in self.sizes.items())
        return f"{self.folder}: {sizes} (limit of the features: {self.limit / 1e9:,.1f} GB)"


def info() -> CacheInfo:
    """Return the sizes of the caches as a `CacheInfo`.

    Example:

    >>> info().sizes.keys()
    dict_keys(['features', 'engines', 'images', 'unpacked', 'file_info'])
    """
    sizes = {name: folder_size(cache_home() / name) for name in _FOLDERS}
    return CacheInfo(
        str(cache_home()),
        {**sizes, "file_info": sum(map(_size, _databases()))},
        cache_limit_bytes(),
    )


def clear(*names: str) -> None:
    """Delete the given caches, or all of them; they are created again when needed.

    Running processes continue with the files that they have open.

    Args:
        *names: "features", "engines", "images", "unpacked" or "file_info". Defaults to all.

    Raises:
        ValueError: if there is no such cache.

    Example:

    >>> clear("features", "engines")
    """
    for name in [check_choice("names", name, _CACHES) for name in names] or _CACHES:
        if name == "file_info":
            for path in _databases():
                with contextlib.suppress(OSError):
                    path.unlink()
        elif not remove_folder(cache_home() / name):
            # Open files can prevent renaming the folder; then as many of its files as possible are deleted.
            shutil.rmtree(cache_home() / name, ignore_errors=True)
    remove_trash(cache_home())


def _databases() -> list[Path]:
    return sorted(cache_home().glob("files-*.sqlite*"))


def _size(path: Path) -> int:
    # Another process may delete the file at any time.
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
