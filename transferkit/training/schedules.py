"""Learning-rate schedules over the steps of one phase."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras

from transferkit._utils.checks import did_you_mean

SCHEDULES = ("constant", "cosine", "one_cycle", "plateau")
# Fractions of the steps in which the learning rate rises; those of the papers.
_COSINE_WARMUP, _ONE_CYCLE_WARMUP = 0.1, 0.25
_RATE_SETTERS = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)
_PLATEAU_FACTOR, _PLATEAU_PATIENCE = 0.2, 3


@keras.saving.register_keras_serializable(package="transferkit")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Rises along a cosine to `peak` in the first quarter of the steps and falls along a cosine to almost zero.

    Args:
        peak: float > 0. The largest learning rate.
        steps: int >= 1. Number of steps of the phase.

    Example:

    >>> schedule = OneCycle(1.0, 100)
    >>> [round(float(schedule(step)), 3) for step in (0, 25, 100)]
    [0.04, 1.0, 0.0]

    Reference: Smith and Topin, "Super-Convergence", 2017, arXiv:1708.07120.
    """

    def __init__(self, peak: float, steps: int, name: str = "one_cycle") -> None:
        super().__init__()
        self.peak, self.steps, self.name = float(peak), int(steps), name

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step, counted from 0."""
        ops = keras.ops
        step, top = ops.cast(step, "float32"), max(1.0, _ONE_CYCLE_WARMUP * self.steps)
        rising = _between(self.peak / 25, self.peak, ops.minimum(step / top, 1.0))
        falling = _between(self.peak, self.peak / 1e5, ops.clip((step - top) / max(1.0, self.steps - top), 0.0, 1.0))
        return ops.where(step < top, rising, falling)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, for `from_config`."""
        return {"peak": self.peak, "steps": self.steps, "name": self.name}


def _between(start: float, end: float, fraction: Any) -> Any:
    return end + (start - end) * (1 + keras.ops.cos(math.pi * fraction)) / 2


def check_schedule(schedule: Any, steps_per_epoch: int | None, callbacks: Iterable[Any] = ()) -> Any:
    """Return `schedule`; None becomes "cosine", or "constant" where that is not possible.

    Raises:
        ValueError: for another value, an unknown number of steps, or a callback that sets the learning rate too.
    """
    setters = [type(callback).__name__ for callback in callbacks if isinstance(callback, _RATE_SETTERS)]
    if schedule is None:
        return "constant" if setters or steps_per_epoch is None else "cosine"
    is_keras = isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)
    if not is_keras and not (isinstance(schedule, str) and schedule in SCHEDULES):
        hint = did_you_mean(schedule, SCHEDULES) if isinstance(schedule, str) else ""
        raise ValueError(
            f"`schedule` must be one of {SCHEDULES} or a keras.optimizers.schedules.LearningRateSchedule. "
            f"Received: {schedule!r}. {hint}".rstrip()
        )
    if setters and schedule != "constant":
        raise ValueError(
            f"`schedule` must be 'constant' with a callback that sets the learning rate. Received: {schedule!r} and "
            f"{', '.join(setters)}. Omit one of them."
        )
    if schedule in ("cosine", "one_cycle") and steps_per_epoch is None:
        raise ValueError(
            f"`schedule={schedule!r}` requires a known number of batches. Received: a tf.data.Dataset of unknown "
            "size. Apply tf.data.experimental.assert_cardinality, or use schedule='constant'."
        )
    return schedule


def make_schedule(schedule: Any, peak: float, steps: int) -> Any:
    """Return the learning rate of a phase of `steps` steps: `peak`, or a Keras schedule whose steps count from 0."""
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return schedule
    if schedule == "one_cycle":
        return OneCycle(peak, steps)
    if schedule == "cosine":
        warmup = min(round(_COSINE_WARMUP * steps), steps - 1)
        if warmup == 0:
            return keras.optimizers.schedules.CosineDecay(peak, steps)
        return keras.optimizers.schedules.CosineDecay(
            0.0, steps - warmup, warmup_target=peak, warmup_steps=warmup, name="cosine"
        )
    return peak


def plateau_callback(monitor: str, mode: str) -> keras.callbacks.Callback:
    """Return the callback that divides the learning rate by 5 after 3 epochs without an improvement."""
    return keras.callbacks.ReduceLROnPlateau(
        monitor=monitor, factor=_PLATEAU_FACTOR, patience=_PLATEAU_PATIENCE, mode=mode
    )
