"""Guards of training: a loss that is not finite, frozen weights that changed, and interruptions."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
from collections.abc import Iterator
from typing import Any

import keras

from transferkit.errors import TrainingError
from transferkit.modeling.state import Snapshot, changing_variables, frozen_checksum

_LOG = logging.getLogger("transferkit")
# A mean loss of an epoch this many times that of the first one, or of random guessing, will not come down again.
_EXPLODED = 100.0


class NonFiniteLossError(ArithmeticError):
    """The loss of a step is not finite; `step` counts from 0 in the epoch."""

    def __init__(self, step: int) -> None:
        super().__init__(f"The loss is not finite at step {step}.")
        self.step = step


class LossGuard(keras.callbacks.Callback):
    """Stops training at a loss that is not finite, or that exploded, and restores the weights before that epoch.

    Args:
        model: the classifier.
        random_loss: loss of random guessing.
    """

    def __init__(self, model: keras.Model, random_loss: float) -> None:
        super().__init__()
        self._variables = changing_variables(model)
        self._limit, self._random_loss = math.inf, random_loss
        self._before = Snapshot(self._variables)
        self.epoch: int = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Keep the weights."""
        self.epoch, self._before = epoch, Snapshot(self._variables)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Check the mean loss of the epoch so far, of which a value that is not finite remains."""
        if logs is not None and "loss" in logs and not math.isfinite(float(logs["loss"])):
            raise NonFiniteLossError(batch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Check the loss of the epoch."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(self._limit):
            self._limit = _EXPLODED * max(loss, self._random_loss)
        if loss > self._limit:
            self.restore()
            raise TrainingError(
                f"The loss must not grow without limit. Received: {loss:.4g} in epoch {epoch}, over {_EXPLODED:g} "
                "times the first one. The weights before this epoch were restored. Lower the learning rate, or set "
                "clip_norm=1.0."
            )

    def restore(self) -> None:
        """Restore the weights at the start of the epoch."""
        self._before.restore()


@contextlib.contextmanager
def unchanged_frozen_weights(model: keras.Model) -> Iterator[None]:
    """Raise a TrainingError at the end when a frozen weight or statistic changed inside the context."""
    before = frozen_checksum(model)
    yield
    if frozen_checksum(model) != before:
        raise TrainingError(
            "Frozen weights must not change in training. Received: other weights or statistics of batch normalization "
            "than before the phase. A layer or a callback assigned them; train from a newly built model without it."
        )


class Interruption(keras.callbacks.Callback):
    """Turns the first Ctrl-C during a phase into its end after the present epoch; a second one stops at once.

    Use it as a context around the phase, and as a callback inside.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requested: bool = False
        self._previous: Any = None
        self._installed = False

    def __enter__(self) -> Interruption:
        # Only the main thread may set handlers, and a handler of the user is left alone.
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._previous = signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(self, *error: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._previous)
            self._installed = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop where it was requested."""
        if self.requested:
            self.model.stop_training = True

    def _handle(self, number: int, frame: Any) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        _LOG.warning("Interrupted: training stops after this epoch. Interrupt again to stop at once.")
