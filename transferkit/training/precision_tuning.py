"""Choosing the precision in which a training step takes less time on this machine: measured once, and remembered."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from transferkit._utils.files import atomic_write, cache_home
from transferkit.engines.timings import fingerprint, hardware_id
from transferkit.modeling.keras_graph import graph_nodes, is_functional
from transferkit.modeling.precision import has_gpu, mixed_precision_layers, precision_scope

_ROUNDS = 3
# Reduced precision must save at least this part of the time: less is within the scatter of a measurement.
_WORTH_IT = 0.05


@dataclasses.dataclass(frozen=True)
class PrecisionChoice:
    """The precision in which a trained part computes; `str(choice)` says it in words.

    Attributes:
        precision: "float32", "bfloat16" or "float16"; "float32 or bfloat16" while it has yet to be measured.
        reason: why.
    """

    precision: str
    reason: str

    def __str__(self) -> str:
        return f"The trained part computes in {self.precision}: {self.reason}."


REQUESTED_FLOAT32 = PrecisionChoice("float32", "it was asked for")


def select_precision(model: keras.Model, asked: str, *, batch_size: int, measure: bool) -> PrecisionChoice:
    """Return the precision in which `model` is trained when `asked` was asked for.

    On a GPU it is what was asked for. On a processor it depends on the layers and on the processor whether reduced
    precision is faster, so a step is timed in both.

    Args:
        model: the part of the classifier that is trained.
        asked: "float32", "bfloat16" or "float16".
        batch_size: images in a training batch.
        measure: whether to measure what is not known yet; else the choice is left open.
    """
    if asked == "float32":
        return REQUESTED_FLOAT32
    if has_gpu():
        return PrecisionChoice(asked, "it was asked for, and there is a GPU")
    if not mixed_precision_layers(model):
        return PrecisionChoice("float32", "no convolution or dense layer of it stands below the logits")
    if any(None in tensor.shape[1:] for tensor in model.inputs):
        return PrecisionChoice("float32", "a model of no fixed input size cannot be measured")
    file, key = cache_home() / "engines" / "training-precision.json", _key(model, batch_size)
    times = _remembered(file).get(key)
    if times is None and not measure:
        return PrecisionChoice(f"float32 or {asked}", "a step will be measured in both when training begins")
    if times is None:
        times = measure_step_times(model, ("float32", asked), batch_size=batch_size)
        _remember(file, key, times)
    return _faster(times, asked)


def measure_step_times(model: keras.Model, precisions: tuple[str, ...], *, batch_size: int) -> dict[str, float | None]:
    """Return precision to the seconds of a step, forward and backward, on a random batch; None where it fails.

    Nothing of the model is changed: neither weights nor statistics nor the states of its seed generators.
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
            warnings.warn(f"A step in {precision} failed, and is left out: {error}", RuntimeWarning, stacklevel=3)
    # In turns and the best of each, so that other work of the machine does not decide.
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
            # A stateless call gives the new statistics and random states back instead of assigning them.
            logits, _ = model.stateless_call(weights, others, batch if len(batch) > 1 else batch[0], training=True)
            loss = tf.reduce_mean(tf.cast(logits, tf.float32))
        return tape.gradient(loss, weights)

    return tf.function(step, autograph=False)


def _faster(times: dict[str, float | None], asked: str) -> PrecisionChoice:
    plain, reduced = times.get("float32"), times.get(asked)
    if plain is None or reduced is None:
        return PrecisionChoice("float32", f"a step in {asked} failed")
    said = f"a step takes {reduced * 1e3:.3g} ms in {asked} and {plain * 1e3:.3g} ms in float32"
    return PrecisionChoice(asked if reduced < plain * (1 - _WORTH_IT) else "float32", said)


def _key(model: keras.Model, batch_size: int) -> str:
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    return fingerprint(*_structure(model), batch_size, tf.__version__, keras.__version__, *hardware_id(), threads)


def _structure(model: Any) -> Iterator[Any]:
    """Yield what the time of a step depends on: kinds and sizes of the layers, and which of them are trained."""
    if not is_functional(model):
        yield type(model).__qualname__, [tuple(variable.shape) for variable in model.weights]
        return
    for step in graph_nodes(model):
        if is_functional(step.layer):
            yield from _structure(step.layer)
            continue
        shapes = [tuple(variable.shape) for variable in getattr(step.layer, "weights", ())]
        trained = bool(getattr(step.layer, "trainable_variables", ()))
        yield type(step.layer).__qualname__, [tuple(tensor.shape) for tensor in step.outputs], shapes, trained


def _remembered(file: Path) -> dict[str, dict[str, float | None]]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(file.read_text())
        if isinstance(found, dict):
            return found
    return {}


def _remember(file: Path, key: str, times: dict[str, float | None]) -> None:
    with contextlib.suppress(OSError), atomic_write(file) as path:
        path.write_text(json.dumps({**_remembered(file), key: times}))
