"""Selects the fastest engine and verifies it against Keras."""

from __future__ import annotations

import itertools
import logging
import time
from typing import Any

import keras
import tensorflow as tf

from transferkit._utils.checks import check_choice, check_int
from transferkit._utils.hashing import fingerprint
from transferkit._utils.openvino import openvino_is_available, openvino_version
from transferkit.engines import openvino
from transferkit.engines.base import Engine, EngineError, KerasEngine, engine_errors
from transferkit.engines.frozen_graph import FrozenGraph, frozen_function
from transferkit.engines.timings import (
    Timing,
    estimate_seconds_per_image,
    hardware_id,
    load_timings,
    save_timings,
    seconds_per_image,
)
from transferkit.engines.verification import (
    TOLERANCE,
    has_reference,
    probe_images,
    reference_outputs,
    relative_error,
)
from transferkit.modeling.fingerprint import model_fingerprint
from transferkit.modeling.precision import check_precision, has_gpu

_LOG = logging.getLogger("transferkit")
ENGINES = ("auto", "keras", "frozen_graph", "openvino")
# Up to this many images, tracing a graph takes longer than Keras without one.
_MAX_EAGER_IMAGES = 16
# Conversion takes this much longer than tracing for TensorFlow and saves this fraction of the time per image; loading
# a cached conversion takes less time than tracing.
_CONVERSION_SECONDS, _SAVED_FRACTION, _LOADING_SECONDS = 0.2, 0.4, 0.1
# Assumed time until an engine is ready where nothing has been measured.
_DEFAULT_SETUP_SECONDS = 0.5
# Amount of work from which trying every engine pays off.
_BENCHMARK_SECONDS = 100.0


def compile_engine(
    model: keras.Model,
    *,
    engine: str = "auto",
    precision: str = "float32",
    batch_size: int | None = None,
    count: int | None = None,
    model_id: str | None = None,
) -> Engine:
    """Return an engine that runs `model`, verified against Keras.

    Args:
        model: built keras.Model from float32 images (batch, height, width, 3) to one or several outputs.
        engine: "auto" (the one that completes `count` images first, conversion included), "keras", "frozen_graph"
            (TensorFlow) or "openvino" (extra `fast`).
        precision: "float32"; "bfloat16", about twice as fast on CPUs that have instructions for it, with features off
            by 1e-3 to 1e-2 of the largest on average (on others, OpenVINO computes in float32); or "float16", on GPUs.
        batch_size: int >= 1. Images per batch. Defaults to `default_batch_size()`.
        count: number of images to come, or None for very many.
        model_id: the result of `model_fingerprint(model)`, where it is known.

    Raises:
        EngineError: when the outputs of the requested engine differ from Keras', or the model raises an error.
        MissingExtraError: when it is not installed.
    """
    check_choice("engine", engine, ENGINES)
    check_precision(precision)
    batch_size = default_batch_size() if batch_size is None else check_int("batch_size", batch_size)
    if None in model.input_shape[1:]:
        raise EngineError(
            f"A model must have a fixed input size. Received: {model.input_shape[1:]}. Create it with input_shape."
        )
    if engine == "keras":
        return KerasEngine(model, batch_size)
    selector = EngineSelector(model, batch_size, precision, model_id or model_fingerprint(model))
    few = precision == "float32" and count is not None and count <= _MAX_EAGER_IMAGES
    if engine == "auto" and few and not selector.is_converted():
        return KerasEngine(model, batch_size)
    return selector.fastest(count) if engine == "auto" else selector.create(engine)


def estimate_seconds(
    model: keras.Model, count: int, *, precision: str = "float32", model_id: str | None = None
) -> float:
    """Return about how long engine="auto" takes for `count` images, conversion included; nothing is run."""
    if not count:
        return 0.0
    selector = EngineSelector(model, default_batch_size(), precision, model_id or model_fingerprint(model))
    return selector.estimate(count)


def default_batch_size() -> int:
    """Return the best batch size: small on a CPU, whose caches then hold the activations; large on a GPU."""
    return 64 if has_gpu() else 4


class EngineSelector:
    """Creates and selects engines of one model."""

    def __init__(self, model: keras.Model, batch_size: int, precision: str, model_id: str) -> None:
        self._model, self._batch_size, self._precision, self._model_id = model, batch_size, precision, model_id
        self._shape = tuple(model.input_shape[1:])
        self._timing_key = fingerprint(model_id, batch_size, precision, tf.__version__, *hardware_id())

    def fastest(self, count: int | None) -> Engine:
        """Return the engine that completes `count` images first, as far as measured on this machine."""
        names = self._candidates()
        if len(names) == 1:
            return self._create_timed(names[0])
        known = load_timings(self._timing_key)
        if count is not None and all(name in known for name in names):
            return self._first_working(sorted(names, key=lambda name: self._total_seconds(known[name], name, count)))
        seconds = self._tensorflow_seconds(known)
        if count is None or count * seconds > _BENCHMARK_SECONDS:
            return self._benchmark_candidates(names)
        pays_off = self._is_converted() or count * seconds * _SAVED_FRACTION > _CONVERSION_SECONDS
        return self._first_working(names if pays_off else names[::-1])

    def is_converted(self) -> bool:
        """Return whether a conversion of the model that was verified before is cached."""
        return "openvino" in self._candidates() and self._is_converted() and has_reference(self._model_id)

    def estimate(self, count: int) -> float:
        """Return the seconds of the best engine, measured before or estimated."""
        known = load_timings(self._timing_key)
        if known:
            return min(self._total_seconds(timing, name, count) for name, timing in known.items())
        return _DEFAULT_SETUP_SECONDS + count * estimate_seconds_per_image(self._model)

    def create(self, name: str) -> Engine:
        """Return an engine, or raise an EngineError when its outputs differ from Keras'."""
        engine = self._build(name)
        with engine_errors(self._model):
            expected = reference_outputs(self._model, self._model_id)
        error = relative_error(engine(probe_images(self._shape)), expected)
        if error > TOLERANCE[engine.precision]:
            raise EngineError(
                f"The outputs of an engine must equal Keras' within {TOLERANCE[engine.precision]:g}. Received: {name} "
                f"off by {error:g} for {self._model.name!r}. Choose another engine."
            )
        return engine

    def _candidates(self) -> list[str]:
        """Return the engines to choose from, the one that usually is fastest first."""
        if has_gpu() or not openvino_is_available():
            return ["frozen_graph"]
        return ["openvino", "frozen_graph"] if self._precision == "float32" else ["openvino"]

    def _build(self, name: str) -> Engine:
        if name == "openvino":
            options = self._conversion_key(), self._batch_size, self._precision
            # OpenVINO applies the precision itself, so one graph serves all of them.
            cached = openvino.load_compiled(*options)
            return cached or openvino.convert(self._trace("float32"), *options)
        return FrozenGraph(self._trace(self._precision), self._batch_size, self._precision)

    def _trace(self, precision: str) -> Any:
        with engine_errors(self._model):
            return frozen_function(self._model, self._batch_size, precision)

    def _tensorflow_seconds(self, known: dict[str, Timing]) -> float:
        """Return TensorFlow's time per image: measured, or estimated from that of the other engine."""
        if "frozen_graph" in known:
            return known["frozen_graph"].per_image
        if "openvino" in known:
            return known["openvino"].per_image / (1 - _SAVED_FRACTION)
        return estimate_seconds_per_image(self._model)

    def _first_working(self, names: list[str]) -> Engine:
        for name, alternative in itertools.pairwise(names):
            try:
                return self._create_timed(name)
            except Exception as error:
                # Another release of an engine may fail in any way; the selection must not end the user's training.
                _LOG.warning("%s Using %s instead.", _describe(name, error), alternative)
        return self._create_timed(names[-1])

    def _benchmark_candidates(self, names: list[str]) -> Engine:
        """Create and time every candidate; return the fastest."""
        engines: dict[str, Engine] = {}
        for name in names:
            try:
                engines[name] = self._create_timed(name)
            except Exception as error:
                _LOG.warning("%s It is skipped.", _describe(name, error))
        if not engines:
            raise EngineError(f"An engine must run {self._model.name!r}. Received: none that does. Use engine='keras'.")
        known = load_timings(self._timing_key)
        return min(engines.values(), key=lambda engine: known[engine.name].per_image)

    def _create_timed(self, name: str) -> Engine:
        """Create an engine; its times are measured once and remembered."""
        started = time.perf_counter()
        engine = self.create(name)
        if name not in load_timings(self._timing_key):
            timing = Timing(time.perf_counter() - started, seconds_per_image(engine, self._shape))
            save_timings(self._timing_key, {name: timing})
        return engine

    def _total_seconds(self, timing: Timing, name: str, count: int) -> float:
        converted = name == "openvino" and self._is_converted()
        return (_LOADING_SECONDS if converted else timing.conversion) + count * timing.per_image

    def _is_converted(self) -> bool:
        return openvino.is_cached(self._conversion_key())

    def _conversion_key(self) -> str:
        return fingerprint(self._model_id, self._batch_size, openvino_version(), tf.__version__)


def _describe(name: str, error: Exception) -> str:
    is_ours = isinstance(error, EngineError)
    return str(error) if is_ours else f"The engine {name!r} failed ({type(error).__name__}: {error})."
