"""From feature maps or tokens to one vector an image."""

from __future__ import annotations

from typing import Any

import keras


def global_pooling(pooling: str, rank: int, **options: Any) -> keras.layers.Layer:
    """Return the layer that pools feature maps (rank 4) or tokens (rank 3), the batch counted, to vectors.

    Args:
        pooling: "avg" or "max".
        rank: 3 or 4.
        options: of the layer.
    """
    kind = {"avg": "Average", "max": "Max"}[pooling]
    return getattr(keras.layers, f"Global{kind}Pooling{rank - 2}D")(**options)
