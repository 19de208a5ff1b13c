"""The images decoded first, kept in memory, so that what `build()` has looked at is not decoded again at once."""

from __future__ import annotations

import os
from collections.abc import Hashable
from threading import Lock
from typing import Any

import numpy as np

from transferkit.images.spec import ImageSpec


class MemoryImageCache:
    """Decoded images up to a limit in bytes, for the whole process.

    Args:
        limit: in bytes, of at least 0.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes = limit, 0
        self._images: dict[Hashable, np.ndarray] = {}
        self._lock = Lock()

    def get(self, key: Hashable | None) -> np.ndarray | None:
        """Return the image under `key`, or None."""
        return None if key is None else self._images.get(key)

    def put(self, key: Hashable | None, image: np.ndarray) -> None:
        """Keep `image`, as long as there is room."""
        if key is None:
            return
        with self._lock:
            # A pass over more than fits would push out everything before it is read again; so what is there stays.
            if key not in self._images and self._bytes + image.nbytes <= self._limit:
                # A copy: the image may be a row of a whole batch, which would stay in memory with it.
                self._images[key] = image.copy()
                self._images[key].setflags(write=False)
                self._bytes += image.nbytes

    def clear(self) -> None:
        """Forget all images."""
        with self._lock:
            self._images.clear()
            self._bytes = 0


# A thousand images of 160 x 160; more would make the memory grow with the number of files.
PIXEL_MEMORY = MemoryImageCache(limit=80 << 20)


def file_key(source: Any, spec: ImageSpec) -> Hashable | None:
    """Return what tells a file in its present state from all others, or None for what is no file."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    try:
        status = os.stat(source)
    except (OSError, ValueError):
        return None
    return os.fspath(source), status.st_size, status.st_mtime_ns, status.st_ino, spec
