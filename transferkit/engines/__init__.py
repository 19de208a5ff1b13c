"""Inference engines: ways to run a frozen model on batches of images."""

from transferkit.engines.base import Engine, EngineError
from transferkit.engines.outputs import select_outputs
from transferkit.engines.selection import ENGINES, compile_engine, default_batch_size, estimate_seconds
from transferkit.modeling.fingerprint import model_fingerprint

__all__ = [
    "ENGINES",
    "Engine",
    "EngineError",
    "compile_engine",
    "default_batch_size",
    "estimate_seconds",
    "model_fingerprint",
    "select_outputs",
]
