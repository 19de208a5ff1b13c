"""The state of a run after each epoch, on disk, so that an interrupted run goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from transferkit._utils.files import atomic_write


class Checkpoint:
    """One phase's state in one file: trained weights, optimizer, history, and what they belong to.

    The file is plain numbers and text (NumPy's .npz without pickle). It is written beside and renamed, so that an
    interruption at any moment leaves the state of the last whole epoch.

    Args:
        folder: where the phases' files lie.
        number: the phase's place in the run, from 0.
        identity: what the phase must have in common to be taken up again: seed, learning rate, data, shapes.
    """

    def __init__(self, folder: str | os.PathLike[str], number: int, identity: dict[str, Any]) -> None:
        self.path = Path(folder) / f"phase-{number}.npz"
        self._identity = json.loads(json.dumps(identity))

    def save(self, model: keras.Model, history: dict[str, list[float]], *, finished: bool) -> None:
        """Write the state of `model` after the epochs in `history`."""
        record = {"identity": self._identity, "history": history, "finished": finished}
        arrays: dict[str, Any] = {f"value_{index}": _plain(value) for index, value in enumerate(_state(model))}
        with atomic_write(self.path, suffix=".npz") as temporary, open(temporary, "wb") as file:
            np.savez(file, record=np.array(json.dumps(record)), **arrays)

    def restore(self, model: keras.Model) -> tuple[dict[str, list[float]], bool]:
        """Set `model` to the state saved; return the history and whether the phase was finished.

        Without a file nothing is set, and the history is empty.

        Raises:
            ValueError: when the file belongs to another run.
        """
        if not self.path.is_file():
            return {}, False
        # The optimizer's variables must be there before they can be set: Keras drops their values otherwise.
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        state = _state(model)
        with np.load(self.path, allow_pickle=False) as saved:
            record = json.loads(str(saved["record"]))
            values = [saved[f"value_{index}"] for index in range(len(saved.files) - 1)]
        self._check(record["identity"], [value.shape for value in values], [tuple(value.shape) for value in state])
        for variable, value in zip(state, values):
            variable.assign(value)
        return record["history"], record["finished"]

    def _check(self, identity: dict[str, Any], saved: list[Any], wanted: list[Any]) -> None:
        other = [name for name in self._identity if identity.get(name) != self._identity[name]]
        if not other and saved != wanted:
            other = ["model"]
        if other:
            said = "; ".join(f"{name}: {identity.get(name)!r} then, {self._identity.get(name)!r} now" for name in other)
            raise ValueError(
                f"`checkpoint_dir` must belong to this run. Received: {str(self.path.parent)!r}, whose run differs "
                f"({said}). Choose another folder, or delete this one to start afresh."
            )


class CheckpointCallback(keras.callbacks.Callback):
    """Writes a checkpoint of `model` after each epoch, and once more when the phase is finished."""

    def __init__(self, checkpoint: Checkpoint, model: keras.Model, history: dict[str, list[float]]) -> None:
        super().__init__()
        self._checkpoint, self._whole = checkpoint, model
        self._history = {name: list(values) for name, values in history.items()}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(float(value))
        self._checkpoint.save(self._whole, self._history, finished=False)

    def on_train_end(self, logs: Any = None) -> None:
        # Early stopping may have put the best weights back, after the last epoch's checkpoint.
        self._checkpoint.save(self._whole, self._history, finished=True)


def _state(model: keras.Model) -> list[Any]:
    return [*model.trainable_variables, *_statistics(model), *model.optimizer.variables]


def _statistics(layer: Any) -> list[Any]:
    """Return the variables that move without being trained: the statistics of batch normalisation in training."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return list(layer.non_trainable_variables) if layer.trainable else []
    return [variable for inner in getattr(layer, "layers", ()) for variable in _statistics(inner)]


def _plain(variable: Any) -> np.ndarray:
    value = np.asarray(variable)
    return value if value.dtype.kind in "fiub" else value.astype("float32")
