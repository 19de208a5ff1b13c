"""The in-memory cache of decoded images."""

from __future__ import annotations

import numpy as np
import pytest

from transferkit.images.memory_cache import MemoryImageCache


def test_memory_cache_keeps_first_images_up_to_limit():
    memory = MemoryImageCache(max_bytes=3000)
    for key in range(4):
        memory.put(key, np.full((20, 20, 3), key, np.uint8))
    assert memory.get(0)[0, 0, 0] == 0 and memory.get(1) is not None and memory.get(2) is None
    with pytest.raises(ValueError, match="read-only"):
        memory.get(0)[:] = 1
    memory.put(None, np.zeros((1, 1, 3), np.uint8))
    assert memory.get(None) is None
