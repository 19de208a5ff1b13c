"""Checkpoints of a run after each epoch, from which an interrupted run continues exactly."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from transferkit._utils.files import atomic_write
from transferkit.modeling.keras_graph import all_layers, own_statistics
from transferkit.training.run_identity import describe_differences

FORMAT_VERSION = 4


class Checkpoint:
    """One phase's state in one file: trained weights, optimizer, history and the identity of the run.

    The file is NumPy's .npz without pickle, written to a temporary name and renamed, so that an interruption leaves the
    state of the last complete epoch.
    """

    def __init__(self, folder: Path, number: int, identity: dict[str, Any]) -> None:
        self.path = folder / f"phase-{number}.npz"
        self._identity = json.loads(json.dumps({"format": FORMAT_VERSION, **identity}))

    def save(self, model: keras.Model, history: dict[str, list[float]], *, finished: bool) -> None:
        """Write the state of `model` after the epochs in `history`."""
        values = [_to_numpy(value) for value in _state(model)]
        record = json.dumps({"identity": self._identity, "history": history, "finished": finished})
        arrays: dict[str, Any] = {f"value_{index}": value for index, value in enumerate(values)}
        with atomic_write(self.path, suffix=".npz") as temporary, open(temporary, "wb") as file:
            np.savez(file, record=np.array(record), digest=np.array(_digest(record, values)), **arrays)

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
        self._check(record.get("identity", record.get("run_config", {})), shapes)
        for variable, value in zip(state, values):
            variable.assign(value)
        return record["history"], record["finished"]

    def _read(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        try:
            with np.load(self.path, allow_pickle=False) as saved:
                text = str(saved["record"])
                record = json.loads(text)
                count = sum(name.startswith("value_") for name in saved.files)
                values = [saved[f"value_{index}"] for index in range(count)]
                # Earlier formats have no digest; they are refused by the identity of their run.
                is_present = record.get("identity", {}).get("format") == FORMAT_VERSION
                if is_present and str(saved["digest"]) != _digest(text, values):
                    raise ValueError("its checksum differs")
                return {"history": record["history"], "finished": record["finished"], **record}, values
        except Exception as error:  # the parsers of NumPy and zipfile raise errors of many kinds for a damaged file
            raise ValueError(
                f"`checkpoint_dir` must have complete checkpoints. Received: {str(self.path)!r}, which cannot be read "
                f"({error}). Delete this file to start its phase again."
            ) from error

    def _check(self, saved: dict[str, Any], same_shapes: bool) -> None:
        differences = describe_differences(saved, self._identity) or ("" if same_shapes else "other model")
        if differences:
            raise ValueError(
                f"`checkpoint_dir` must belong to this run. Received: {str(self.path.parent)!r}, whose run differs "
                f"({differences}). Choose another folder, or delete this one to start again."
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


def _digest(record: str, values: list[np.ndarray]) -> str:
    digest = hashlib.blake2b(record.encode(), digest_size=16)
    for value in values:
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _state(model: keras.Model) -> list[Any]:
    return [*model.trainable_variables, *_changing_statistics(model), *model.optimizer.variables]


def _changing_statistics(model: keras.Model) -> list[Any]:
    """Return the variables that training changes without gradients, such as statistics of batch normalization.

    States of random numbers are left out: they follow from seed and epoch.
    """
    layers = (layer for layer in all_layers(model) if layer.trainable or not _is_batch_norm(layer))
    found = {id(variable): variable for layer in layers for variable in own_statistics(layer)}
    return [variable for variable in found.values() if variable.name != "seed_generator_state"]


def _is_batch_norm(layer: Any) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)


def _to_numpy(variable: Any) -> np.ndarray:
    value = np.asarray(variable)
    return value if value.dtype.kind in "fiub" else value.astype("float32")
