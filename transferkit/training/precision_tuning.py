"""Selects the precision in which a training step is faster on this machine: measured once, and remembered."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from transferkit._utils.files import cache_home, read_json, update_json
from transferkit._utils.hashing import fingerprint
from transferkit.engines.timings import hardware_id
from transferkit.modeling.keras_graph import graph_nodes, is_functional
from transferkit.modeling.precision import has_gpu, mixed_precision_layers, precision_scope

_LOG = logging.getLogger("transferkit")
_ROUNDS = 3
# Reduced precision must save at least this fraction of the time: less is within the scatter of the measurement.
_MIN_SAVING = 0.05


@dataclasses.dataclass(frozen=True)
class PrecisionChoice:
    """The precision of a trained part.

    Attributes:
        precision: "float32", "bfloat16" or "float16"; "float32 or bfloat16" while it is not measured yet.
        reason: why.
    """

    precision: str
    reason: str

    def __str__(self) -> str:
        return f"Training precision: {self.precision} ({self.reason})"


FLOAT32 = PrecisionChoice("float32", "requested")


def select_precision(model: keras.Model, requested: str, *, batch_size: int, measure: bool) -> PrecisionChoice:
    """Return the precision in which `model`, the trained part of the classifier, is trained.

    On a GPU it is the requested one. On a CPU it depends on the layers and the processor whether reduced precision is
    faster, so a step is timed in both; without `measure`, unknown times leave the choice open.
    """
    if requested == "float32":
        return FLOAT32
    if has_gpu():
        return PrecisionChoice(requested, "requested, with a GPU")
    if not mixed_precision_layers(model):
        return PrecisionChoice("float32", "there is no convolution or dense layer below the logits")
    if any(None in tensor.shape[1:] for tensor in model.inputs):
        return PrecisionChoice("float32", "a model without a fixed input size cannot be measured")
    file, key = cache_home() / "engines" / "training-precision.json", _key(model, batch_size)
    times = _stored_times(read_json(file).get(key))
    if times is None and not measure:
        return PrecisionChoice(f"float32 or {requested}", "measured when training starts")
    if times is None:
        times = measure_step_times(model, ("float32", requested), batch_size=batch_size)
        update_json(file, key, times)
    return _faster(times, requested)


def measure_step_times(model: keras.Model, precisions: tuple[str, ...], *, batch_size: int) -> dict[str, float | None]:
    """Return precision -> seconds per step, forward and backward, on a random batch; None where it fails.

    Weights, statistics and seed generators of the model do not change.
    """
    batch = [tf.random.stateless_uniform((batch_size, *tensor.shape[1:]), (0, 0)) for tensor in model.inputs]
    steps: dict[str, Callable[..., Any]] = {}
    times: dict[str, float | None] = dict.fromkeys(precisions)
    for precision in precisions:
        step = _step(model, precision)
        try:
            step(batch)
            steps[precision] = step
        except (tf.errors.OpError, TypeError, ValueError) as error:
            _LOG.warning("A step in %s failed and is skipped: %s", precision, error)
    # Alternating, and the best of each, so that other load of the machine does not decide.
    for _ in range(_ROUNDS):
        for precision, step in steps.items():
            started = time.perf_counter()
            step(batch)
            seconds = time.perf_counter() - started
            times[precision] = min(seconds, times[precision] or seconds)
    return times


def _step(model: keras.Model, precision: str) -> Callable[..., Any]:
    layers = mixed_precision_layers(model)

    def step(batch: list[tf.Tensor]) -> list[tf.Tensor]:
        weights = [tf.convert_to_tensor(variable.value) for variable in model.trainable_variables]
        others = [tf.convert_to_tensor(variable.value) for variable in model.non_trainable_variables]
        with precision_scope(precision, layers), tf.GradientTape() as tape:
            tape.watch(weights)
            # A stateless call returns new statistics and random states instead of assigning them.
            logits, _ = model.stateless_call(weights, others, batch if len(batch) > 1 else batch[0], training=True)
            loss = tf.reduce_mean(tf.cast(logits, tf.float32))
        return tape.gradient(loss, weights)

    return tf.function(step, autograph=False)


def _stored_times(value: Any) -> dict[str, float | None] | None:
    """Return `value` where it has the form of measured times, else None, so that a damaged file is replaced."""
    if isinstance(value, dict) and all(seconds is None or type(seconds) is float for seconds in value.values()):
        return value
    return None


def _faster(times: dict[str, float | None], requested: str) -> PrecisionChoice:
    plain, reduced = times.get("float32"), times.get(requested)
    if plain is None or reduced is None:
        return PrecisionChoice("float32", f"a step in {requested} failed")
    reason = f"a step takes {reduced * 1e3:.3g} ms in {requested} and {plain * 1e3:.3g} ms in float32"
    return PrecisionChoice(requested if reduced < plain * (1 - _MIN_SAVING) else "float32", reason)


def _key(model: keras.Model, batch_size: int) -> str:
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    return fingerprint(*_structure(model), batch_size, tf.__version__, keras.__version__, *hardware_id(), threads)


def _structure(model: Any) -> Iterator[Any]:
    """Yield the properties that the time of a step depends on: kinds and sizes of the layers, which are trained."""
    if not is_functional(model):
        yield type(model).__qualname__, [tuple(variable.shape) for variable in model.weights]
        return
    for node in graph_nodes(model):
        if is_functional(node.layer):
            yield from _structure(node.layer)
            continue
        shapes = [tuple(variable.shape) for variable in getattr(node.layer, "weights", ())]
        trained = bool(getattr(node.layer, "trainable_variables", ()))
        yield type(node.layer).__qualname__, [tuple(tensor.shape) for tensor in node.outputs], shapes, trained
