"""Engines: ways of running a frozen model on batches of images."""

from transferkit.engines.base import Engine, EngineError
from transferkit.engines.selection import (
    ENGINES,
    PRECISIONS,
    compile_engine,
    default_batch_size,
    estimate_seconds,
    relative_error,
)

__all__ = [
    "ENGINES",
    "PRECISIONS",
    "Engine",
    "EngineError",
    "compile_engine",
    "default_batch_size",
    "estimate_seconds",
    "relative_error",
]
