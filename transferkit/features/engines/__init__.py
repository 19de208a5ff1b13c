"""Engines: ways of running a frozen model on batches of images."""

from transferkit.features.engines.base import Engine, EngineError
from transferkit.features.engines.choose import (
    ENGINES,
    PRECISIONS,
    compile_engine,
    default_batch_size,
    expected_seconds,
    relative_error,
)

__all__ = [
    "ENGINES",
    "PRECISIONS",
    "Engine",
    "EngineError",
    "compile_engine",
    "default_batch_size",
    "expected_seconds",
    "relative_error",
]
