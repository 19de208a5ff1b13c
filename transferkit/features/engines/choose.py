"""Making the engine that will be done first, and trusting none that gives other numbers than Keras."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transferkit._checks import check_choice, check_int
from transferkit._storage import atomic_path, home
from transferkit.features.engines import openvino
from transferkit.features.engines.base import Engine, EngineError
from transferkit.features.engines.direct import Direct
from transferkit.features.engines.frozen_graph import FrozenGraph, frozen_function
from transferkit.features.identity import model_identity

__all__ = ["ENGINES", "PRECISIONS", "compile_engine", "relative_error"]

ENGINES = ("auto", "keras", "frozen_graph", "openvino")
PRECISIONS = ("float32", "bfloat16")
# Up to so many images, tracing a graph takes longer than Keras takes without one.
_FEW = 16
# The largest difference from Keras, relative to the largest feature. Float32 engines were seen at 2e-6; a wrong
# conversion gives NaN or whole other numbers.
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
# Before anything was measured: converting takes about this long, and saves about this part of the time.
_CONVERSION_SECONDS, _SAVING = 1.5, 0.4


def compile_engine(
    model: keras.Model,
    *,
    engine: str = "auto",
    precision: str = "float32",
    batch_size: int = 32,
    count: int | None = None,
) -> Engine:
    """Return an engine that runs `model`, tried against Keras on a batch.

    Args:
        model: built keras.Model from float32 images (batch, height, width, 3) to one or several outputs.
        engine: "auto" for the one that is done first with `count` images, conversion included; "keras" for the model
            itself; "frozen_graph", TensorFlow's; or "openvino", by the extra `fast`.
        precision: "float32"; or "bfloat16", which takes half the time on processors that have it and gives features
            that are off by 1e-4 to 1e-2 of the largest.
        batch_size: images run at once.
        count: number of images to come, or None for very many.

    Raises:
        EngineError: when the engine asked for gives other numbers than Keras.
        MissingExtraError: when it is not installed.
    """
    check_choice("engine", engine, ENGINES)
    check_choice("precision", precision, PRECISIONS)
    check_int("batch_size", batch_size)
    if None in model.input_shape[1:]:
        raise EngineError(
            f"A model must have a fixed input size to be converted. Received: {model.input_shape[1:]}. Give "
            "input_shape."
        )
    if engine == "keras" or (engine == "auto" and precision == "float32" and count is not None and count <= _FEW):
        return Direct(model, batch_size)
    workshop = _Workshop(model, batch_size, precision)
    if engine != "auto":
        return workshop.make(engine)
    return workshop.fastest(count)


def relative_error(got: tuple[np.ndarray, ...], wanted: tuple[np.ndarray, ...]) -> float:
    """Return the largest difference over all outputs, relative to the largest wanted number; infinite for NaN."""
    worst = 0.0
    for mine, theirs in zip(got, wanted):
        scale = max(float(np.abs(theirs).max()), 1e-12)
        difference = float(np.abs(mine - theirs).max()) / scale
        worst = max(worst, difference if np.isfinite(difference) else float("inf"))
    return worst


class _Workshop:
    """Makes engines of one model; the traced graph and Keras' own answer are worked out once for all."""

    def __init__(self, model: keras.Model, batch_size: int, precision: str) -> None:
        self._model, self._batch_size, self._precision = model, batch_size, precision
        self._identity = model_identity(model)
        self._frozen: Any = None
        self._wanted: tuple[np.ndarray, ...] | None = None
        self._conversions: dict[str, float] = {}

    def fastest(self, count: int | None) -> Engine:
        """Return the engine that is done first, as far as is known from this machine's measurements."""
        names = self._candidates()
        if len(names) == 1:
            return self.make(names[0])
        known = _measurements().get(self._measurement_key(), {})
        if set(known) >= set(names) and count is not None:
            return self._make_any(sorted(names, key=lambda name: self._expected(known[name], name, count)))
        if self._is_converted() or count is None:
            return self._probed(names)
        # Nothing is known yet. The graph is needed in any case; whether converting it pays is seen from its speed.
        engine = self.make("frozen_graph")
        seconds = self._seconds_per_image(engine)
        if count * seconds * _SAVING < _CONVERSION_SECONDS:
            return engine
        return self._probed(names, {"frozen_graph": (engine, seconds)})

    def make(self, name: str) -> Engine:
        """Return the engine, or raise an EngineError when it gives other numbers than Keras."""
        started = time.perf_counter()
        engine = self._build(name)
        self._conversions[name] = time.perf_counter() - started
        probe = _probe_images(self._model.input_shape[1:])[: self._batch_size]
        error = relative_error(engine(probe), self._reference(probe))
        if error > TOLERANCE[engine.precision]:
            raise EngineError(
                f"An engine must give Keras' numbers within {TOLERANCE[engine.precision]:g}. Received: {name} off by "
                f"{error:g} for {self._model.name!r}. Choose another engine."
            )
        return engine

    def _candidates(self) -> list[str]:
        if tf.config.list_physical_devices("GPU") or not openvino.installed():
            return ["frozen_graph"]
        if self._precision == "bfloat16":
            return ["openvino"]
        return ["openvino", "frozen_graph"]

    def _build(self, name: str) -> Engine:
        if name == "openvino":
            model = openvino.cached_model(self._cache_key())
            if model is None:
                model = openvino.convert(
                    self._graph(), self._batch_size, self._model.input_shape[1:], self._cache_key()
                )
            return openvino.OpenVino(model, self._batch_size, self._precision)
        if self._precision != "float32":
            raise EngineError(
                f"precision={self._precision!r} must be run by OpenVINO on this machine. Received: engine={name!r}. "
                'Install it with: pip install "transferkit[fast]"'
            )
        return FrozenGraph(self._graph(), self._batch_size)

    def _make_any(self, names: list[str]) -> Engine:
        for name in names[:-1]:
            try:
                return self.make(name)
            except (EngineError, RuntimeError) as error:
                warnings.warn(f"{error} Taking {names[-1]} instead.", RuntimeWarning, stacklevel=4)
        return self.make(names[-1])

    def _probed(self, names: list[str], done: dict[str, tuple[Engine, float]] | None = None) -> Engine:
        """Make every candidate, time it, remember the times, and return the fastest."""
        timed = dict(done or {})
        for name in names:
            if name in timed:
                continue
            try:
                engine = self.make(name)
            except (EngineError, RuntimeError) as error:
                warnings.warn(f"{error} It is left out.", RuntimeWarning, stacklevel=4)
                continue
            timed[name] = engine, self._seconds_per_image(engine)
        times = {name: [self._conversions[name], seconds] for name, (_, seconds) in timed.items()}
        _remember(self._measurement_key(), times)
        return min(timed.values(), key=lambda pair: pair[1])[0]

    def _expected(self, times: list[float], name: str, count: int) -> float:
        conversion, per_image = times
        converted = name == "openvino" and self._is_converted()
        return (0.1 if converted else conversion) + count * per_image

    def _is_converted(self) -> bool:
        return (home() / "engines" / self._cache_key() / "SHA256SUMS").is_file()

    def _seconds_per_image(self, engine: Engine) -> float:
        images = np.zeros((self._batch_size, *self._model.input_shape[1:]), np.float32)
        engine(images)
        started = time.perf_counter()
        engine(images)
        return (time.perf_counter() - started) / self._batch_size

    def _graph(self) -> Any:
        if self._frozen is None:
            self._frozen = frozen_function(self._model, self._batch_size)
        return self._frozen

    def _reference(self, probe: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return what Keras gives for the probe: the answer belongs to the model's weights, so it is kept for good."""
        if self._wanted is None:
            file = home() / "engines" / f"{_digest(self._identity, len(probe), tf.__version__, keras.__version__)}.npz"
            self._wanted = _read_answer(file)
        if self._wanted is None:
            self._wanted = Direct(self._model, len(probe))(probe)
            _write_answer(file, self._wanted)
        return self._wanted

    def _cache_key(self) -> str:
        return _digest(self._identity, self._batch_size, importlib.metadata.version("openvino"), tf.__version__)

    def _measurement_key(self) -> str:
        machine = (platform.machine(), platform.processor(), os.cpu_count())
        return _digest(_digest(self._identity), self._batch_size, self._precision, tf.__version__, *machine)


def _probe_images(shape: tuple[int, ...]) -> np.ndarray:
    # Smooth blobs with some noise: closer to photographs than noise alone, which saturates many networks.
    generator = np.random.default_rng(0)
    coarse = generator.uniform(0, 255, (2, 5, 5, 3)).astype(np.float32)
    smooth = tf.image.resize(coarse, shape[:2]).numpy()
    return np.clip(smooth + generator.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def _read_answer(file: Path) -> tuple[np.ndarray, ...] | None:
    # What cannot be read is worked out again; the archive's own checksums tell a broken one.
    with (
        contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile),
        np.load(file, allow_pickle=False) as kept,
    ):
        return tuple(kept[f"output_{number}"] for number in range(len(kept.files)))
    return None


def _write_answer(file: Path, answer: tuple[np.ndarray, ...]) -> None:
    with contextlib.suppress(OSError), atomic_path(file, suffix=".npz") as path:
        arrays: dict[str, Any] = {f"output_{number}": output for number, output in enumerate(answer)}
        np.savez(path, **arrays)


def _digest(*parts: Any) -> str:
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def _measurements() -> dict[str, dict[str, list[float]]]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((home() / "engines" / "measurements.json").read_text())
        if isinstance(found, dict):
            return found
    return {}


def _remember(key: str, times: dict[str, list[float]]) -> None:
    with contextlib.suppress(OSError), atomic_path(home() / "engines" / "measurements.json") as path:
        path.write_text(json.dumps({**_measurements(), key: times}))
