"""Keeps the best weights of a phase and stops it early."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from transferkit.modeling.state import changing_variables, to_numpy

# Parts of the names of metrics of which smaller values are better; of all others larger ones are.
_SMALLER_IS_BETTER = ("loss", "error", "crossentropy", "entropy", "poisson", "divergence", "hinge")


def monitor_mode(monitor: str) -> str:
    """Return "min" or "max": which values of a metric are better."""
    return "min" if any(part in monitor for part in _SMALLER_IS_BETTER) else "max"


class BestWeights(keras.callbacks.Callback):
    """Restores at the end of a phase the weights of its best epoch, and stops it after epochs without improvement.

    Args:
        model: the classifier.
        monitor: name of the metric.
        keep: whether the best weights are restored.
        patience: epochs without improvement after which training stops; None for never.
        start: value of the metric before the phase, whose weights count as an epoch; None if they do not.
    """

    def __init__(
        self, model: keras.Model, monitor: str, *, keep: bool, patience: int | None, start: float | None = None
    ) -> None:
        super().__init__()
        self.monitor: str = monitor
        self.patience: int | None = patience
        self._keep, self._sign = keep, 1.0 if monitor_mode(monitor) == "min" else -1.0
        self._variables = changing_variables(model)
        self.best: float = float("inf") if start is None else self._sign * start
        self.best_epoch: int = -1
        self.wait: int = 0
        self._values = self._read() if keep and start is not None else []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Compare the epoch with the best one."""
        if self.monitor not in (logs or {}):
            raise ValueError(
                f"`monitor` must be a metric of this phase. Received: {self.monitor!r}. The metrics are "
                f"{', '.join(logs or {})}."
            )
        value = self._sign * float(logs[self.monitor])  # type: ignore[index]
        if value < self.best:
            self.best, self.best_epoch, self.wait = value, epoch, 0
            self._values = self._read() if self._keep else []
            return
        self.wait += 1
        if self.patience is not None and self.wait >= self.patience:
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        """Restore the best weights."""
        for variable, value in zip(self._variables, self._values):
            variable.assign(value)

    def _read(self) -> list[np.ndarray]:
        return [to_numpy(variable) for variable in self._variables]
