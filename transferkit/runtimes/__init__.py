"""Runs exported models with NumPy and the package of a runtime alone, without TensorFlow."""

from transferkit.runtimes.base import Runtime
from transferkit.runtimes.loading import RUNTIMES, find_runtimes, load_runtime, runtime_of

__all__ = ["RUNTIMES", "Runtime", "find_runtimes", "load_runtime", "runtime_of"]
