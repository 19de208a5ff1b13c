"""Checkpoints of a run after each epoch, from which an interrupted run continues exactly."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transferkit._utils.files import atomic_write
from transferkit.data.dataset import Data

FORMAT_VERSION = 2


def open_checkpoint(folder: Path | None, number: int, config: dict[str, Any], data: Data) -> Checkpoint | None:
    """Return the checkpoint of a phase, or None without a folder; data and machine are added to `config`."""
    if folder is None:
        return None
    config = {
        **config,
        "batch_size": data.batch_size,
        "classes": list(data.class_names),
        "images": {split: len(files) for split, files in data.files.items()},
        # Another number of threads adds in another order.
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count(),
    }
    return Checkpoint(folder, number, config)


class Checkpoint:
    """One phase's state in one file: trained weights, optimizer, history and configuration of the run.

    The file is NumPy's .npz without pickle, written to a temporary name and renamed, so that an interruption leaves the
    state of the last complete epoch.
    """

    def __init__(self, folder: str | os.PathLike[str], number: int, config: dict[str, Any]) -> None:
        self.path = Path(folder) / f"phase-{number}.npz"
        self._run_config = json.loads(json.dumps({"format": FORMAT_VERSION, **config}))

    def save(self, model: keras.Model, history: dict[str, list[float]], *, finished: bool) -> None:
        """Write the state of `model` after the epochs in `history`."""
        record = {"run_config": self._run_config, "history": history, "finished": finished}
        arrays: dict[str, Any] = {f"value_{index}": _to_numpy(value) for index, value in enumerate(_state(model))}
        with atomic_write(self.path, suffix=".npz") as temporary, open(temporary, "wb") as file:
            np.savez(file, record=np.array(json.dumps(record)), **arrays)

    def restore(self, model: keras.Model) -> tuple[dict[str, list[float]], bool]:
        """Set `model` to the saved state, if any; return the history and whether the phase was finished.

        A file of another run or a damaged one raises a ValueError.
        """
        if not self.path.is_file():
            return {}, False
        # Keras drops the values of optimizer variables that do not exist yet.
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        state = _state(model)
        record, values = self._read()
        shapes = [value.shape for value in values] == [tuple(variable.shape) for variable in state]
        self._check(record.get("run_config", {}), shapes)
        for variable, value in zip(state, values):
            variable.assign(value)
        return record["history"], record["finished"]

    def _read(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        try:
            with np.load(self.path, allow_pickle=False) as saved:
                record = json.loads(str(saved["record"]))
                values = [saved[f"value_{index}"] for index in range(len(saved.files) - 1)]
                return {"history": record["history"], "finished": record["finished"], **record}, values
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"`checkpoint_dir` must have complete checkpoints. Received: {str(self.path)!r}, which cannot be read "
                f"({error}). Delete this file to start its phase again."
            ) from error

    def _check(self, saved: dict[str, Any], same_shapes: bool) -> None:
        current = self._run_config
        differing = [name for name in current if saved.get(name) != current[name]]
        if not differing and not same_shapes:
            differing = ["model"]
        if differing:
            values = "; ".join(f"{n}: {saved.get(n)!r} in the file, {current.get(n)!r} now" for n in differing)
            raise ValueError(
                f"`checkpoint_dir` must belong to this run. Received: {str(self.path.parent)!r}, whose run differs "
                f"({values}). Choose another folder, or delete this one to start again."
            )


class CheckpointCallback(keras.callbacks.Callback):
    """Writes a checkpoint of a classifier after each epoch, and once more when the phase is finished."""

    def __init__(self, checkpoint: Checkpoint, model: keras.Model, history: dict[str, list[float]]) -> None:
        super().__init__()
        self._checkpoint, self._classifier = checkpoint, model
        self._history = {name: list(values) for name, values in history.items()}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(float(value))
        self._checkpoint.save(self._classifier, self._history, finished=False)

    def on_train_end(self, logs: Any = None) -> None:
        # Early stopping may have restored the best weights after the checkpoint of the last epoch.
        self._checkpoint.save(self._classifier, self._history, finished=True)


def _state(model: keras.Model) -> list[Any]:
    return [*model.trainable_variables, *_moving_statistics(model), *model.optimizer.variables]


def _moving_statistics(layer: Any) -> list[Any]:
    """Return the variables that change without being trained: statistics of trainable batch normalization."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return list(layer.non_trainable_variables) if layer.trainable else []
    return [variable for inner in getattr(layer, "layers", ()) for variable in _moving_statistics(inner)]


def _to_numpy(variable: Any) -> np.ndarray:
    value = np.asarray(variable)
    return value if value.dtype.kind in "fiub" else value.astype("float32")
