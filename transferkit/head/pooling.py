"""Pooling of feature maps and tokens to one vector per image."""

from __future__ import annotations

from typing import Any

import keras

POOLINGS = ("avg", "max", "flatten")


def global_pooling(pooling: str, rank: int, **options: Any) -> keras.layers.Layer:
    """Return the layer that pools feature maps (rank 4) or tokens (rank 3) to vectors; `pooling` is "avg" or "max"."""
    kind = {"avg": "Average", "max": "Max"}[pooling]
    return getattr(keras.layers, f"Global{kind}Pooling{rank - 2}D")(**options)


def pooling_layers(pooling: str, rank: int) -> list[keras.layers.Layer]:
    """Return the layers, one or none, from features of `rank` dimensions, the batch included, to vectors.

    Raises:
        ValueError: if `rank` is larger than 4.
    """
    if rank > 4:
        raise ValueError(
            "Features must be (batch, channels), (batch, tokens, channels) or (batch, height, width, channels). "
            f"Received: rank {rank}. Pool or reshape them at the end of the backbone."
        )
    if rank > 2 and pooling == "flatten":
        return [keras.layers.Flatten(name="pooling")]
    return [global_pooling(pooling, rank, name="pooling")] if rank > 2 else []
