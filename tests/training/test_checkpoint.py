"""Checkpoints: an interrupted run, started again, ends with the weights of the unbroken one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data import Data
from transferkit.training.checkpoint import Checkpoint


class _Interruption(Exception):
    pass


class _Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            raise _Interruption


def run(data: Data, folder: Path | None, *, cache: bool, interrupt: int | None = None) -> tk.Trainer:
    model = small_classifier(tk.AugmentationBlock(rotation=0.1), dropout=0.3)
    callbacks = [] if interrupt is None else [_Interrupt(interrupt)]
    trainer = tk.Trainer(model, learning_rate=1e-2, checkpoint_dir=folder, cache=cache, callbacks=callbacks)
    trainer.fit(data, epochs=3, verbose=0)
    trainer.fine_tune(data, epochs=3, unfreeze_from="block2_conv", verbose=0)
    return trainer


# Interrupted in the first phase and in fine-tuning, on features and on images.
@pytest.mark.parametrize(
    ("cache", "epoch"),
    [
        (True, 4),
        (False, 2),
        pytest.param(True, 2, marks=pytest.mark.slow),
        pytest.param(False, 4, marks=pytest.mark.slow),
    ],
)
def test_resumed_run_equals_unbroken_run(
    data: Data, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, cache: bool, epoch: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # The other runs must not find its features.
        patch.setenv("TRANSFERKIT_HOME", str(tmp_path_factory.mktemp("home")))
        unbroken = run(data, None, cache=cache)
    assert unbroken.history.phases[0].trained_on == ("features" if cache else "images")
    with pytest.raises(_Interruption):
        run(data, tmp_path, cache=cache, interrupt=epoch)
    resumed = run(data, tmp_path, cache=cache)
    assert resumed.history.history == unbroken.history.history
    for actual, expected in zip(resumed.model.get_weights(), unbroken.model.get_weights()):
        np.testing.assert_array_equal(actual, expected)


# Options whose state outlives an epoch: of schedules, callbacks, best weights, averages and accumulated gradients.
STATEFUL: dict[str, dict[str, Any]] = {
    "early_stopping_of_averages": {
        "trainer": {"ema": 0.9, "clip_norm": 0.5},
        "fit": {"early_stopping": 2, "keep_best": True, "learning_rate": 0.5},
    },
    "early_stopping": {"fit": {"early_stopping": 2, "keep_best": True, "learning_rate": 0.5}},
    "plateau": {"fit": {"schedule": "plateau", "learning_rate": 0.5, "epochs": 8}},
    "one_cycle": {"fit": {"schedule": "one_cycle"}, "fine_tune": {"schedule": "cosine"}},
    "ema": {"trainer": {"ema": 0.9, "clip_norm": 0.5}, "fit": {"keep_best": True}},
    "accumulate_steps": {"trainer": {"accumulate_steps": 2, "optimizer": "adamw"}},
    "mixup": {"mixup": 0.4},
    "gradual": {"fine_tune": {"gradual": True, "layer_decay": 0.7, "l2_sp": 0.1, "fraction": 1.0, "batch_norm": True}},
    "keras_callbacks": {"callbacks": True, "fit": {"learning_rate": 0.5, "epochs": 8}},
}


class _CopyCheckpoints(keras.callbacks.Callback):
    """Copies the checkpoints at the begin of an epoch, as they are left by a run that is killed there."""

    def __init__(self, folder: Path, copies: Path) -> None:
        super().__init__()
        self.folder, self.copies = folder, copies

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch:
            shutil.copytree(self.folder, self.copies / str(epoch))


def stateful_run(data: Data, folder: Path, options: dict[str, Any], copies: Path | None = None) -> tk.Trainer:
    model = small_classifier(tk.AugmentationBlock(rotation=0.1, mixup=options.get("mixup", 0.0)), dropout=0.3)
    callbacks: list[keras.callbacks.Callback] = [] if copies is None else [_CopyCheckpoints(folder, copies)]
    if options.get("callbacks"):
        callbacks += [
            keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True),
            keras.callbacks.ReduceLROnPlateau(patience=1),
        ]
    trainer = tk.Trainer(
        model, **{"learning_rate": 1e-2, **options.get("trainer", {})}, checkpoint_dir=folder, callbacks=callbacks
    )
    trainer.fit(data, **{"epochs": 4, "verbose": 0, **options.get("fit", {})})
    trainer.fine_tune(data, **{"epochs": 3, "verbose": 0, **options.get("fine_tune", {})})
    return trainer


# Of a callback and of averaged weights; a generator of random numbers and a phase of several stages take longer.
FAST = {"early_stopping_of_averages"}
assert set(STATEFUL) > FAST


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in STATEFUL]
)
def test_resumed_run_with_state_equals_unbroken_run(data: Data, tmp_path: Path, name: str) -> None:
    unbroken = stateful_run(data, tmp_path / "unbroken", STATEFUL[name], tmp_path)
    for epoch in (1, 3, unbroken.history.epochs - 1):
        resumed = stateful_run(data, tmp_path / str(epoch), STATEFUL[name])
        assert resumed.history.history == unbroken.history.history
        for actual, expected in zip(resumed.model.get_weights(), unbroken.model.get_weights()):
            np.testing.assert_array_equal(actual, expected)


def test_finished_phase_is_not_trained_again(data: Data, tmp_path: Path) -> None:
    first = run(data, tmp_path, cache=True)
    # An interruption in the first epoch would be raised if any epoch began.
    again = run(data, tmp_path, cache=True, interrupt=0)
    assert again.history.history == first.history.history


def test_checkpoint_of_other_run_raises(data: Data, tmp_path: Path) -> None:
    tk.Trainer(small_classifier(), seed=1, checkpoint_dir=tmp_path).fit(data, epochs=1, verbose=0)
    message = "must belong to this run.*seed: 1 in the file, 2 now.*Choose another folder"
    with pytest.raises(ValueError, match=message):
        tk.Trainer(small_classifier(), seed=2, checkpoint_dir=tmp_path).fit(data, epochs=1, verbose=0)


def test_checkpoint_of_other_model_raises(data: Data, tmp_path: Path) -> None:
    tk.Trainer(small_classifier(), checkpoint_dir=tmp_path).fit(data, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="must belong to this run.*whose run differs"):
        tk.Trainer(small_classifier(hidden=(8,)), checkpoint_dir=tmp_path).fit(data, epochs=1, verbose=0)


def test_checkpoint_damaged_raises(data: Data, tmp_path: Path) -> None:
    tk.Trainer(small_classifier(), checkpoint_dir=tmp_path).fit(data, epochs=1, verbose=0)
    file = tmp_path / "phase-0.npz"
    complete = file.read_bytes()
    message = r"must have complete checkpoints. Received: .*phase-0.npz.*Delete this file to start its phase again"
    for content in (b"", b"text", complete[: len(complete) // 2]):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            tk.Trainer(small_classifier(), checkpoint_dir=tmp_path).fit(data, epochs=1, verbose=0)
    file.unlink()
    tk.Trainer(small_classifier(), checkpoint_dir=tmp_path).fit(data, epochs=1, verbose=0)
    assert len(file.read_bytes()) == len(complete)


@pytest.mark.parametrize("change", ["value", "dtype", "history", "digest"])
def test_checkpoint_changed_raises(tmp_path: Path, change: str) -> None:
    model = small_classifier(hidden=(128,))
    model.compile("adam", "binary_crossentropy")
    checkpoint = Checkpoint(tmp_path, 0, {"seed": 1})
    checkpoint.save(model, {"loss": [0.5]}, finished=False)
    with np.load(checkpoint.path) as saved:
        arrays = {name: saved[name] for name in saved.files}
    if change == "value":
        arrays["value_0"].flat[3] += 1e-6
    elif change == "dtype":
        # NumPy reads as many bytes as the type needs, and zipfile verifies only members that are read to their end.
        arrays["value_0"] = arrays["value_0"].astype("float16")
    elif change == "digest":
        del arrays["digest"]
        arrays["value_0"].flat[3] += 1e-6
    else:
        arrays["record"] = np.array(str(arrays["record"]).replace("0.5", "0.4"))
    np.savez(checkpoint.path, **arrays)
    with pytest.raises(ValueError, match=r"which cannot be read \(.*(checksum differs|digest).*\). Delete this file"):
        checkpoint.restore(model)


def test_checkpoint_save_and_restore(tmp_path: Path) -> None:
    model, other = small_classifier(), small_classifier()
    for one in (model, other):
        one.compile("adam", "binary_crossentropy")
    checkpoint = Checkpoint(tmp_path, 3, {"seed": 1})
    assert checkpoint.path == tmp_path / "phase-3.npz" and checkpoint.restore(model) == ({}, False)
    images = np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)).astype("float32")
    model.fit(images, np.arange(8) % 2, epochs=1, verbose=0)
    checkpoint.save(model, {"loss": [0.5]}, finished=True)
    assert [path.name for path in tmp_path.iterdir()] == ["phase-3.npz"]
    assert Checkpoint(tmp_path, 3, {"seed": 1}).restore(other) == ({"loss": [0.5]}, True)
    for actual, expected in zip(other.trainable_variables, model.trainable_variables):
        np.testing.assert_array_equal(actual, expected)
    for actual, expected in zip(other.optimizer.variables, model.optimizer.variables):
        np.testing.assert_array_equal(actual, expected)
    with pytest.raises(ValueError, match="seed: 1 in the file, 2 now"):
        Checkpoint(tmp_path, 3, {"seed": 2}).restore(other)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no archive"])
def test_damaged_checkpoint_raises_and_changes_nothing(data: Data, tmp_path: Path, content: bytes) -> None:
    trainer = tk.Trainer(small_classifier(), checkpoint_dir=tmp_path)
    weights = trainer.model.get_weights()
    (tmp_path / "phase-0.npz").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"must have complete checkpoints\. Received: .*phase-0\.npz.*Delete this file"
    ):
        trainer.fit(data, epochs=1, verbose=0)
    for before, after in zip(weights, trainer.model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert (tmp_path / "phase-0.npz").read_bytes() == content


def test_new_instances_with_the_same_settings_continue_a_run(data: Data, tmp_path: Path) -> None:
    # Keras numbers the names of optimizers and metrics within a process, as in a notebook whose cell is run again.
    for expected in (2, 0):
        ran: list[int] = []
        counter = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs, ran=ran: ran.append(epoch))
        trainer = tk.Trainer(
            small_classifier(),
            optimizer=keras.optimizers.Adam(1e-3),
            metrics=[keras.metrics.AUC()],
            loss=keras.losses.BinaryCrossentropy(from_logits=True),
            checkpoint_dir=tmp_path,
            callbacks=[counter],
        )
        schedule = keras.optimizers.schedules.CosineDecay(1e-2, 10)
        trainer.fit(data, epochs=2, schedule=schedule, verbose=0)
        assert len(ran) == expected
        assert trainer.history.epochs == 2
