"""In-memory cache of decoded images."""

from __future__ import annotations

import os
from collections.abc import Hashable
from threading import Lock
from typing import Any

import numpy as np

from transferkit.images.spec import ImageSpec

# A thousand images of 160 x 160. The limit keeps memory flat as the number of files grows.
DEFAULT_MAX_BYTES = 80 << 20


class MemoryImageCache:
    """Keeps the first decoded images up to `max_bytes`, so that training need not decode them again after `build()`."""

    def __init__(self, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._max_bytes, self._num_bytes = max_bytes, 0
        self._images: dict[Hashable, np.ndarray] = {}
        self._lock = Lock()

    def get(self, key: Hashable | None) -> np.ndarray | None:
        """Return the image of `key`, or None."""
        return None if key is None else self._images.get(key)

    def put(self, key: Hashable | None, image: np.ndarray) -> None:
        """Keep a copy of `image` while there is room."""
        if key is None:
            return
        with self._lock:
            # No eviction: a pass over more images than fit would evict each of them before it is read again.
            if key not in self._images and self._num_bytes + image.nbytes <= self._max_bytes:
                # Copied because the image may be a row of a batch, which would stay in memory with it.
                self._images[key] = image.copy()
                self._images[key].setflags(write=False)
                self._num_bytes += image.nbytes


def file_version(source: Any, spec: ImageSpec) -> Hashable | None:
    """Return a key of a file in its present state, decoded by `spec`; None for a source that is not a file."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    try:
        status = os.stat(source)
    except (OSError, ValueError):
        return None
    return os.fspath(source), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, spec
