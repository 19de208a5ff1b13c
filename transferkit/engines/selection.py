"""Making the engine that will be done first, and trusting none that gives other numbers than Keras."""

from __future__ import annotations

import itertools
import time
import warnings

import keras
import tensorflow as tf

from transferkit._utils.checks import check_choice, check_int
from transferkit.engines import openvino
from transferkit.engines.base import Engine, EngineError
from transferkit.engines.frozen_graph import FrozenGraph, frozen_function
from transferkit.engines.keras_engine import KerasEngine
from transferkit.engines.timings import (
    Timing,
    estimate_seconds_per_image,
    fingerprint,
    hardware_id,
    load_timings,
    save_timings,
    seconds_per_image,
)
from transferkit.engines.verification import TOLERANCE, probe_images, reference_outputs, relative_error
from transferkit.modeling.fingerprint import model_fingerprint
from transferkit.modeling.precision import has_gpu

ENGINES = ("auto", "keras", "frozen_graph", "openvino")
PRECISIONS = ("float32", "bfloat16", "float16")
# Up to so many images, tracing a graph takes longer than Keras takes without one.
_MAX_EAGER_IMAGES = 16
# Converting takes about this much longer than tracing for TensorFlow, and saves about this part of its time an image;
# reading what was converted before takes less than tracing.
_EXTRA_SECONDS, _SAVING, _READING_SECONDS = 0.2, 0.4, 0.1
# Until an engine is ready, where nothing is known.
_MAKING_SECONDS = 0.5
# Work from which on it pays to try every engine, so that the fastest is known.
_WORTH_TRYING_SECONDS = 100.0


def compile_engine(
    model: keras.Model,
    *,
    engine: str = "auto",
    precision: str = "float32",
    batch_size: int | None = None,
    count: int | None = None,
    identity: str | None = None,
) -> Engine:
    """Return an engine that runs `model`, tried against Keras on a batch.

    Args:
        model: built keras.Model from float32 images (batch, height, width, 3) to one or several outputs.
        engine: "auto" for the one that is done first with `count` images, conversion included; "keras" for the model
            itself; "frozen_graph", TensorFlow's; or "openvino", by the extra `fast`.
        precision: "float32"; or "bfloat16", which takes half the time on processors that have it and gives features
            that are off by 1e-3 to 1e-2 of the largest in the mean; or "float16", on GPUs.
        batch_size: images run together; by default what `default_batch_size` says.
        count: number of images to come, or None for very many.
        identity: of the model, where it was worked out already; see `model_fingerprint`.

    Raises:
        EngineError: when the engine asked for gives other numbers than Keras.
        MissingExtraError: when it is not installed.
    """
    check_choice("engine", engine, ENGINES)
    check_choice("precision", precision, PRECISIONS)
    if precision == "float16" and not has_gpu():
        raise ValueError(
            "`precision` must be 'float32' or 'bfloat16' without a GPU. Received: 'float16'. Choose 'bfloat16'."
        )
    batch_size = default_batch_size() if batch_size is None else check_int("batch_size", batch_size)
    if None in model.input_shape[1:]:
        raise EngineError(
            f"A model must have a fixed input size to be converted. Received: {model.input_shape[1:]}. Give "
            "input_shape."
        )
    if engine == "keras" or (
        engine == "auto" and precision == "float32" and count is not None and count <= _MAX_EAGER_IMAGES
    ):
        return KerasEngine(model, batch_size)
    workshop = EngineSelector(model, batch_size, precision, identity or model_fingerprint(model))
    if engine != "auto":
        return workshop.make(engine)
    return workshop.fastest(count)


def estimate_seconds(
    model: keras.Model, count: int, *, precision: str = "float32", identity: str | None = None
) -> float:
    """Return about how long `engine="auto"` will take for `count` images, its conversion included; nothing is run.

    Args:
        model, precision, identity: as `compile_engine` takes them.
        count: number of images.
    """
    if not count:
        return 0.0
    return EngineSelector(model, default_batch_size(), precision, identity or model_fingerprint(model)).expected(count)


def default_batch_size() -> int:
    """Return how many images are best run together: few on a CPU, for they stay in its caches; many on a GPU."""
    return 64 if has_gpu() else 4


class EngineSelector:
    """Makes engines of one model."""

    def __init__(self, model: keras.Model, batch_size: int, precision: str, identity: str) -> None:
        self._model, self._batch_size, self._precision, self._identity = model, batch_size, precision, identity
        self._shape = tuple(model.input_shape[1:])
        self._conversions: dict[str, float] = {}

    def fastest(self, count: int | None) -> Engine:
        """Return the engine that is done first, as far as is known from this machine's measurements."""
        names = self._candidates()
        if len(names) == 1:
            return self.make(names[0])
        known = load_timings(self._measurement_key())
        if all(name in known for name in names) and count is not None:
            return self._first_that_works(sorted(names, key=lambda name: self._expected(known[name], name, count)))
        seconds = self._tensorflows(known)
        if count is None or count * seconds > _WORTH_TRYING_SECONDS:
            return self._benchmark_candidates(names)
        worth_it = self._is_converted() or count * seconds * _SAVING > _EXTRA_SECONDS
        return self._first_that_works(names if worth_it else names[::-1])

    def expected(self, count: int) -> float:
        """Return the seconds of the best engine, as measured before, or guessed where nothing was."""
        known = load_timings(self._measurement_key())
        if known:
            return min(self._expected(timing, name, count) for name, timing in known.items())
        return _MAKING_SECONDS + count * estimate_seconds_per_image(self._model)

    def make(self, name: str) -> Engine:
        """Return the engine, or raise an EngineError when it gives other numbers than Keras."""
        started = time.perf_counter()
        engine = self._build(name)
        self._conversions[name] = time.perf_counter() - started
        error = relative_error(engine(probe_images(self._shape)), reference_outputs(self._model, self._identity))
        if error > TOLERANCE[engine.precision]:
            raise EngineError(
                f"An engine must give Keras' numbers within {TOLERANCE[engine.precision]:g}. Received: {name} off by "
                f"{error:g} for {self._model.name!r}. Choose another engine."
            )
        return engine

    def _candidates(self) -> list[str]:
        """Return the engines to choose from, the one first that is fastest as a rule."""
        if has_gpu() or not openvino.is_available():
            return ["frozen_graph"]
        return ["openvino", "frozen_graph"] if self._precision == "float32" else ["openvino"]

    def _build(self, name: str) -> Engine:
        if name == "openvino":
            how = self._cache_key(), self._batch_size, self._precision
            # OpenVINO chooses the precision itself, so the graph is one for all.
            return openvino.load_compiled(*how) or openvino.convert(
                frozen_function(self._model, self._batch_size), *how
            )
        graph = frozen_function(self._model, self._batch_size, self._precision)
        return FrozenGraph(graph, self._batch_size, self._precision)

    def _tensorflows(self, known: dict[str, Timing]) -> float:
        """Return what TensorFlow takes for an image: as measured, or guessed from what the other engine takes."""
        if "frozen_graph" in known:
            return known["frozen_graph"].per_image
        if "openvino" in known:
            return known["openvino"].per_image / (1 - _SAVING)
        return estimate_seconds_per_image(self._model)

    def _first_that_works(self, names: list[str]) -> Engine:
        for name, other in itertools.pairwise(names):
            try:
                return self._timed(name)
            except (EngineError, RuntimeError) as error:
                warnings.warn(f"{error} Taking {other} instead.", RuntimeWarning, stacklevel=4)
        return self._timed(names[-1])

    def _benchmark_candidates(self, names: list[str]) -> Engine:
        """Make every candidate, time it, and return the fastest."""
        engines: dict[str, Engine] = {}
        for name in names:
            try:
                engines[name] = self._timed(name)
            except (EngineError, RuntimeError) as error:
                warnings.warn(f"{error} It is left out.", RuntimeWarning, stacklevel=4)
        if not engines:
            raise EngineError(f"An engine must run {self._model.name!r}. Received: none that does. Use engine='keras'.")
        known = load_timings(self._measurement_key())
        return min(engines.values(), key=lambda engine: known[engine.name].per_image)

    def _timed(self, name: str) -> Engine:
        """Make an engine; how long it takes is measured once, and remembered."""
        engine = self.make(name)
        if name not in load_timings(self._measurement_key()):
            timing = Timing(self._conversions[name], seconds_per_image(engine, self._shape))
            save_timings(self._measurement_key(), {name: timing})
        return engine

    def _expected(self, timing: Timing, name: str, count: int) -> float:
        converted = name == "openvino" and self._is_converted()
        return (_READING_SECONDS if converted else timing.conversion) + count * timing.per_image

    def _is_converted(self) -> bool:
        return openvino.is_cached(self._cache_key())

    def _cache_key(self) -> str:
        return fingerprint(self._identity, self._batch_size, openvino.version(), tf.__version__)

    def _measurement_key(self) -> str:
        return fingerprint(self._identity, self._batch_size, self._precision, tf.__version__, *hardware_id())
