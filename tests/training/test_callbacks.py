"""Every callback of Keras sees on cached features what it sees in training on images."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data import Data

Make = Callable[[Path], keras.callbacks.Callback]


def _halve(epoch: int, rate: float) -> float:
    return rate / 2


CALLBACKS: dict[str, Make] = {
    "BackupAndRestore": lambda folder: keras.callbacks.BackupAndRestore(folder / "backup"),
    "CSVLogger": lambda folder: keras.callbacks.CSVLogger(folder / "log.csv"),
    "EarlyStopping": lambda folder: keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True),
    "History": lambda folder: keras.callbacks.History(),
    "LambdaCallback": lambda folder: keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: (folder / f"{epoch}.txt").write_text(",".join(sorted(logs)))
    ),
    "LearningRateScheduler": lambda folder: keras.callbacks.LearningRateScheduler(_halve),
    "ModelCheckpoint": lambda folder: keras.callbacks.ModelCheckpoint(
        folder / "{epoch}.weights.h5", save_weights_only=True, save_best_only=True
    ),
    "ProgbarLogger": lambda folder: keras.callbacks.ProgbarLogger(),
    "ReduceLROnPlateau": lambda folder: keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.5),
    "TensorBoard": lambda folder: keras.callbacks.TensorBoard(folder / "logs", write_graph=False),
    "TerminateOnNaN": lambda folder: keras.callbacks.TerminateOnNaN(),
}
# Those that change the training have runs of their own; the others share one, because most of its time is tracing.
CHANGING = ("EarlyStopping", "LearningRateScheduler", "ReduceLROnPlateau")
GROUPS = {
    **{name: [name] for name in CHANGING},
    "others": [name for name in CALLBACKS if name not in CHANGING],
}
# Abstract classes, one that the trainer itself adds for `ema`, and those that need a server or another package.
NOT_TESTED = {"Callback", "CallbackList", "SwapEMAWeights", "RemoteMonitor", "OrbaxCheckpoint"}


class _Recorder(keras.callbacks.Callback):
    """Records the hooks of epochs and phases, the metrics, and the learning rate."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.seen.append(("train begin", self.params["epochs"], self.params["steps"]))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.seen.append(("epoch begin", epoch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        rate = float(self.model.optimizer.learning_rate)
        self.seen.append(("epoch end", epoch, sorted(logs), [*logs.values(), rate]))

    def on_test_begin(self, logs: Any = None) -> None:
        self.seen.append("test begin")

    def on_train_end(self, logs: Any = None) -> None:
        self.seen.append(("train end", type(self.model).__name__))


def test_every_callback_of_keras_is_tested() -> None:
    names = {name for name, value in vars(keras.callbacks).items() if isinstance(value, type)}
    assert names - NOT_TESTED == set(CALLBACKS)


def results(folder: Path) -> dict[str, Any]:
    """Return the contents of the files that a callback wrote, as numbers."""
    found: dict[str, Any] = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if file.suffix == ".csv":
            with open(file, newline="") as rows:
                for row in csv.DictReader(rows):
                    found[f"{file.name} {row['epoch']}"] = [float(value) for value in row.values()]
        elif ".tfevents." in file.name:
            for event in tf.compat.v1.train.summary_iterator(str(file)):
                for value in event.summary.value:
                    name = f"{file.parent.name} {value.tag} {event.step}"
                    found[name] = float(tf.make_ndarray(value.tensor)) if value.tag.startswith("epoch") else None
        else:
            found[file.name] = file.read_text() if file.suffix == ".txt" else None
    return found


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("group", GROUPS)
def test_callbacks_on_features_equal_on_images(data: Data, tmp_path: Path, group: str) -> None:
    seen, files, weights = [], [], []
    for cache in (True, False):
        folder, recorder = tmp_path / str(cache), _Recorder()
        folder.mkdir()
        callbacks = [*(CALLBACKS[name](folder) for name in GROUPS[group]), recorder]
        trainer = tk.Trainer(small_classifier(), learning_rate=0.3, engine="keras", cache=cache, callbacks=callbacks)
        trainer.fit(data, epochs=4, verbose=0)
        seen.append(recorder.seen)
        files.append(results(folder))
        weights.append(trainer.model.get_weights())
    for cached, plain in zip(*seen):
        if cached[0] == "epoch end":
            assert cached[:3] == plain[:3]
            np.testing.assert_allclose(cached[3], plain[3], atol=1e-5)
        else:
            assert cached == plain
    assert len(seen[0]) == len(seen[1]) and list(files[0]) == list(files[1])
    for key, value in files[0].items():
        if isinstance(value, (float, list)):
            np.testing.assert_allclose(value, files[1][key], atol=1e-5, err_msg=key)
        else:
            assert value == files[1][key]
    for cached, plain in zip(*weights):
        np.testing.assert_allclose(cached, plain, atol=1e-5)
