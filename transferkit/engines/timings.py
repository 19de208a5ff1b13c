"""Measured speed of engines on this machine, and an estimate before anything is measured."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import platform
import time
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from transferkit._utils.files import cache_home, read_json, update_json
from transferkit.engines.base import Engine
from transferkit.modeling.keras_graph import all_layers, estimate_macs, graph_nodes, is_functional

# Convolutional networks reach about this fraction of the speed of one large matrix product.
_EFFICIENCY = 0.5
# Overhead per layer and image in a small batch.
_LAYER_SECONDS = 8e-6
# Assumed for a model whose graph is not accessible.
_DEFAULT_MACS = 10**9
_FILE = Path("engines", "measurements.json")


class Timing(NamedTuple):
    """Cost of an engine: seconds until it is ready, and seconds per image."""

    conversion: float
    per_image: float


def hardware_id() -> tuple[Any, ...]:
    """Return the hardware that measured times are valid for."""
    return platform.machine(), platform.processor(), os.cpu_count()


def load_timings(key: str) -> dict[str, Timing]:
    """Return engine name -> measured timing under `key`."""
    with contextlib.suppress(TypeError, ValueError, AttributeError, OverflowError):
        found = read_json(cache_home() / _FILE).get(key, {}).items()
        timings = {name: Timing(*map(float, values)) for name, values in found}
        # Also false for NaN, with which no engine would be the fastest.
        return timings if all(0 <= value < math.inf for timing in timings.values() for value in timing) else {}
    return {}


def save_timings(key: str, timings: dict[str, Timing]) -> None:
    """Add `timings` to those stored under `key`."""
    update_json(cache_home() / _FILE, key, {**load_timings(key), **timings})


def seconds_per_image(engine: Engine, shape: tuple[int, ...]) -> float:
    """Return the time per image of `shape` with all streams in use, the better of two runs."""
    images = np.zeros((engine.batch_size * engine.streams, *shape), np.float32)
    engine(images)
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        engine(images)
        seconds.append(time.perf_counter() - started)
    return min(seconds) / len(images)


def estimate_seconds_per_image(model: keras.Model) -> float:
    """Return about how long TensorFlow takes per image, from MACs and layers, without running the model."""
    num_layers = sum(1 for _ in all_layers(model))
    return _total_macs(model) / (_EFFICIENCY * _macs_per_second()) + num_layers * _LAYER_SECONDS


def _total_macs(model: keras.Model) -> int:
    if not is_functional(model):
        return _DEFAULT_MACS
    nodes = graph_nodes(model)
    return sum(_total_macs(node.layer) if is_functional(node.layer) else estimate_macs(node) for node in nodes)


@functools.cache
def _macs_per_second() -> float:
    matrix = tf.ones((512, 512))
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        tf.matmul(matrix, matrix).numpy()
        seconds.append(time.perf_counter() - started)
    return 512**3 / max(min(seconds), 1e-6)
