"""Checkpoints of a run after each epoch, from which an interrupted run continues exactly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from transferkit._utils.files import atomic_write
from transferkit.modeling.state import changing_variables
from transferkit.training.callback_state import callback_states, set_callback_states
from transferkit.training.run_identity import describe_differences

FORMAT_VERSION = 6

Callbacks = Sequence[keras.callbacks.Callback]


class Checkpoint:
    """One phase's state in one file: trained weights, optimizer, callbacks, history and the identity of the run.

    The file is NumPy's .npz without pickle, written to a temporary name and renamed, so that an interruption leaves the
    state of the last complete epoch.
    """

    def __init__(self, folder: Path, number: int, identity: dict[str, Any]) -> None:
        self.path: Path = folder / f"phase-{number}.npz"
        self._identity = json.loads(json.dumps({"format": FORMAT_VERSION, **identity}))
        self._restored: tuple[list[dict[str, Any]], list[np.ndarray]] | None = None

    def save(
        self,
        model: keras.Model,
        history: dict[str, list[float]],
        *,
        finished: bool,
        callbacks: Callbacks = (),
    ) -> None:
        """Write the state of `model` and `callbacks` after the epochs in `history`."""
        states, state_arrays = callback_states(callbacks)
        values = [*map(_to_numpy, _state(model)), *state_arrays]
        is_stopped = bool(getattr(model, "stop_training", False))
        record = json.dumps(
            {
                "identity": self._identity,
                "history": history,
                "finished": finished,
                "stopped": is_stopped,
                "callbacks": states,
            }
        )
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
        values, arrays = values[: len(state)], values[len(state) :]
        shapes = [value.shape for value in values] == [tuple(variable.shape) for variable in state]
        self._check(record.get("identity", record.get("run_config", {})), shapes)
        for variable, value in zip(state, values):
            variable.assign(value)
        self._restored = record["callbacks"], arrays
        # A run that was killed between its last epoch and its end must not train another one.
        model.stop_training = record["stopped"]
        return record["history"], record["finished"]

    def restore_callbacks(self, callbacks: Callbacks) -> None:
        """Set callbacks to the restored state, if any; `on_train_begin` has prepared them."""
        if self._restored is not None:
            set_callback_states(callbacks, *self._restored)
            self._restored = None

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
                defaults = {"stopped": False, "callbacks": []}
                return {**defaults, "history": record["history"], "finished": record["finished"], **record}, values
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
    """Writes a checkpoint of a classifier after each epoch, and once more when the phase is finished.

    It follows the other callbacks, whose changes at the end of an epoch it stores.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        model: keras.Model,
        history: dict[str, list[float]],
        callbacks: Callbacks,
        is_interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self._checkpoint, self._classifier, self._callbacks = checkpoint, model, callbacks
        self._is_interrupted = is_interrupted
        self._history = {name: list(values) for name, values in history.items()}

    def on_train_begin(self, logs: Any = None) -> None:
        self._checkpoint.restore_callbacks(self._callbacks)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(float(value))
        self._save(finished=False)

    def on_train_end(self, logs: Any = None) -> None:
        # Early stopping may have restored the best weights after the checkpoint of the last epoch.
        if not self._is_interrupted():
            self._save(finished=True)

    def _save(self, *, finished: bool) -> None:
        self._checkpoint.save(self._classifier, self._history, finished=finished, callbacks=self._callbacks)


def _digest(record: str, values: list[np.ndarray]) -> str:
    digest = hashlib.blake2b(record.encode(), digest_size=16)
    for value in values:
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _state(model: keras.Model) -> list[Any]:
    return [*changing_variables(model), *model.optimizer.variables]


def _to_numpy(variable: Any) -> np.ndarray:
    value = np.asarray(variable)
    return value if value.dtype.kind in "fiub" else value.astype("float32")
