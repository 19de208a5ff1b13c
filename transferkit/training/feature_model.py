"""Many training steps in one call: a step on features takes less time than the way to it through Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

_MOST = 64


def steps_per_call(steps: int) -> int:
    """Return how many of an epoch's `steps` to take in one call: all, or about equal parts of at most 64.

    >>> steps_per_call(25), steps_per_call(100)
    (25, 50)
    """
    calls = -(-steps // _MOST)
    return -(-steps // calls)


def take_many_steps(model: keras.Model, *, steps: int, validation_steps: int) -> None:
    """Make `fit` of a compiled model take `model.steps_per_execution` steps a call, and never one of the next epoch.

    Keras' own function goes on into the next epoch's batches where an epoch is no multiple of the steps a call, and
    takes twice as long to trace, as it looks before each step whether there is one.

    Args:
        model: compiled with `steps_per_execution=steps_per_call(steps)`.
        steps: batches in an epoch of training; epochs follow each other in one dataset.
        validation_steps: batches of the validation data, or 0.
    """
    model.train_function = _ManySteps(model, model.train_step, steps)
    model.test_function = _ManySteps(model, model.test_step, validation_steps)


class _ManySteps:
    def __init__(self, model: keras.Model, step: Callable[[Any], Any], steps: int) -> None:
        self._most, self._steps = model.steps_per_execution, steps
        self._iterator, self._taken = None, 0
        if model.jit_compile:
            step = tf.function(step, jit_compile=True, reduce_retracing=True)

        def several(iterator: Any, count: tf.Tensor) -> dict[str, tf.Tensor]:
            def one(taken: tf.Tensor) -> tf.Tensor:
                step(iterator.get_next())
                return taken + 1

            if steps == 1:
                one(count)
            else:
                tf.while_loop(lambda taken: taken < count, one, [tf.constant(0)])
            return model.get_metrics_result()

        self._several = tf.function(several, autograph=False, reduce_retracing=True)

    def __call__(self, iterator: Any) -> dict[str, tf.Tensor]:
        if iterator is not self._iterator:
            self._iterator, self._taken = iterator, 0
        count = min(self._most, self._steps - self._taken)
        self._taken = (self._taken + count) % self._steps
        return self._several(iterator, tf.constant(count))
