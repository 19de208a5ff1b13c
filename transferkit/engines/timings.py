"""How fast engines were on this machine, remembered; and a guess where nothing was measured yet."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import time
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from transferkit._utils.files import atomic_write, cache_home
from transferkit.engines.base import Engine
from transferkit.modeling.keras_graph import all_layers, estimate_macs, graph_nodes, is_functional

# Convolution nets were seen to reach about this part of the speed of one large matrix product.
_EFFICIENCY = 0.5
# What a layer takes beside its multiplications, for an image in a small batch.
_LAYER_SECONDS = 8e-6


class Timing(NamedTuple):
    """What an engine costs.

    Attributes:
        conversion: seconds until it was ready.
        per_image: seconds an image.
    """

    conversion: float
    per_image: float


def hardware_id() -> tuple[Any, ...]:
    """Return what measured times belong to."""
    return platform.machine(), platform.processor(), os.cpu_count()


def fingerprint(*parts: Any) -> str:
    """Return 32 hexadecimal digits that stand for `parts`."""
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def load_timings(key: str) -> dict[str, Timing]:
    """Return engine name to what it was seen to cost, under `key`."""
    with contextlib.suppress(TypeError, ValueError, AttributeError):
        return {name: Timing(*map(float, figures)) for name, figures in _all().get(key, {}).items()}
    return {}


def save_timings(key: str, timings: dict[str, Timing]) -> None:
    """Keep `timings` beside what is known under `key` already."""
    with contextlib.suppress(OSError), atomic_write(_file()) as path:
        everything = _all()
        path.write_text(json.dumps({**everything, key: {**load_timings(key), **timings}}))


def seconds_per_image(engine: Engine, shape: tuple[int, ...]) -> float:
    """Return how long `engine` takes for an image of `shape`: all its streams filled, the better of two runs."""
    images = np.zeros((engine.batch_size * engine.streams, *shape), np.float32)
    engine(images)
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        engine(images)
        seconds.append(time.perf_counter() - started)
    return min(seconds) / len(images)


def estimate_seconds_per_image(model: keras.Model) -> float:
    """Return about how long TensorFlow takes for an image, from multiplications and layers, before any is run."""
    layers = sum(1 for _ in all_layers(model))
    return _work(model) / (_EFFICIENCY * _multiplications_a_second()) + layers * _LAYER_SECONDS


def _work(model: keras.Model) -> int:
    if not is_functional(model):
        # Nothing can be counted, so say a network of middle size.
        return 10**9
    return sum(_work(step.layer) if is_functional(step.layer) else estimate_macs(step) for step in graph_nodes(model))


@functools.cache
def _multiplications_a_second() -> float:
    matrix = tf.ones((512, 512))
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        tf.matmul(matrix, matrix).numpy()
        seconds.append(time.perf_counter() - started)
    return 512**3 / max(min(seconds), 1e-6)


def _file() -> Path:
    return cache_home() / "engines" / "measurements.json"


def _all() -> dict[str, dict[str, list[float]]]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(_file().read_text())
        if isinstance(found, dict):
            return found
    return {}
