"""Inspects and clears the on-disk cache. Downloads are deleted only by name, datasets never."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from pathlib import Path

from transferkit._utils.cache_limit import LIMITED, cache_limit_bytes, remove_entry, remove_trash
from transferkit._utils.checks import check_choice
from transferkit._utils.files import cache_home, folder_size

_CACHES = (*LIMITED, "file_info")


@dataclasses.dataclass(frozen=True, repr=False)
class CacheInfo:
    """Sizes of the caches.

    Attributes:
        folder: str, the cache folder.
        sizes: dict from the name of a cache to its size in bytes: "features" (extracted features), "engines" (compiled
            engines), "images" (decoded images), "unpacked" (archives), "downloads", "trials" (heads of
            `autofit`), "shards" (features of opened folders of shards) and "file_info" (metadata of image files).
        limit: int, the size limit in bytes of all of them but "file_info" together. The least recently used entries
            are deleted when it is exceeded.
    """

    folder: str
    sizes: dict[str, int]
    limit: int

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in self.sizes.items())
        return f"{self.folder}: {sizes} (limit: {self.limit / 1e9:,.1f} GB)"


def info() -> CacheInfo:
    """Return the sizes of the caches as a `CacheInfo`.

    Example:

    >>> info().sizes.keys()
    dict_keys(['features', 'engines', 'images', 'unpacked', 'downloads', 'trials', 'shards', 'file_info'])
    """
    sizes = {name: folder_size(cache_home() / name) for name in LIMITED}
    return CacheInfo(
        str(cache_home()),
        {**sizes, "file_info": sum(map(folder_size, _databases()))},
        cache_limit_bytes(),
    )


def clear(*names: str) -> None:
    """Delete the given caches, or all but the downloads; they are created again when needed.

    Running processes continue with the files that they have open.

    Args:
        *names: "features", "engines", "images", "unpacked", "downloads", "trials", "shards" or "file_info". Defaults
            to all but "downloads".

    Raises:
        ValueError: if there is no such cache.

    Example:

    >>> clear("features", "engines")
    """
    chosen = [check_choice("names", name, _CACHES) for name in names]
    for name in chosen or [name for name in _CACHES if name != "downloads"]:
        if name == "file_info":
            for path in _databases():
                with contextlib.suppress(OSError):
                    path.unlink()
        elif not remove_entry(cache_home() / name):
            # Open files can prevent renaming the folder; then as many of its files as possible are deleted.
            shutil.rmtree(cache_home() / name, ignore_errors=True)
    remove_trash(cache_home())


def _databases() -> list[Path]:
    return sorted(cache_home().glob("files-*.sqlite*"))
