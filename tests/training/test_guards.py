"""Guards: each raises, or keeps what was reached, where training would go wrong silently."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data import Data
from transferkit.data.pipeline import epoch_order
from transferkit.modeling.freezing import batch_norm_layers
from transferkit.modeling.keras_graph import find_backbone


class _SetRate(keras.callbacks.Callback):
    """Makes the weights of the second epoch infinite."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 1:
            self.model.optimizer.learning_rate = float("inf")


@pytest.mark.parametrize("cache", [True, False])
def test_loss_not_finite_names_step_rate_and_files(data: Data, cache: bool) -> None:
    trainer = tk.Trainer(small_classifier(dropout=0.0), optimizer="sgd", learning_rate=1e-2, cache=cache)
    reference = tk.Trainer(small_classifier(dropout=0.0), optimizer="sgd", learning_rate=1e-2, cache=cache)
    reference.fit(data, epochs=1, verbose=0)
    with pytest.raises(tk.TrainingError) as caught:
        trainer.fit(data, epochs=3, callbacks=[_SetRate()], verbose=0)
    message = str(caught.value)
    # The update of step 0 makes the weights infinite.
    step = int(message.split("at step ")[1].split()[0])
    assert f"at step {step} of epoch 1, with learning rate inf" in message and step == 1
    split = data.splits["train"]
    assert split.paths is not None
    rows = epoch_order(len(split), 0, 1)[step * 16 : (step + 1) * 16]
    assert str([split.paths[row] for row in rows]) in message
    # The weights are those before the epoch.
    for actual, expected in zip(trainer.model.get_weights(), reference.model.get_weights()):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("cache", [True, False])
def test_loss_that_explodes_raises(data: Data, cache: bool) -> None:
    class Explode(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.model.optimizer.learning_rate = 1e-2 if epoch == 0 else 1e6

    trainer = tk.Trainer(small_classifier(dropout=0.0), optimizer="sgd", cache=cache)
    with pytest.raises(tk.TrainingError, match="The loss must not grow without limit. Received: .* in epoch 1"):
        trainer.fit(data, epochs=5, callbacks=[Explode()], verbose=0)


@pytest.mark.parametrize("part", ["weight", "statistics"])
def test_frozen_weights_that_change_raise(data: Data, part: str) -> None:
    class Change(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            backbone = find_backbone(self.model)
            layer = next(batch_norm_layers(backbone))
            variable = layer.moving_mean if part == "statistics" else backbone.get_layer("block0_conv").kernel
            value = np.asarray(variable).copy()
            # One bit of one number.
            value.view(np.uint32).flat[0] ^= 1
            variable.assign(value)

    with pytest.raises(tk.TrainingError, match="Frozen weights must not change in training"):
        tk.Trainer(small_classifier()).fit(data, epochs=1, callbacks=[Change()], verbose=0)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """The handler of Python, which a shell has replaced by none for what it started in the background."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("cache", [True, False])
def test_ctrl_c_ends_epoch_and_keeps_it(data: Data, tmp_path: Path, cache: bool) -> None:
    class Press(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                signal.raise_signal(signal.SIGINT)

    def run(**options: Any) -> tk.Trainer:
        return tk.Trainer(small_classifier(), learning_rate=1e-2, cache=cache, **options)

    trainer, unbroken = run(checkpoint_dir=tmp_path), run()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(data, epochs=6, callbacks=[Press()], verbose=0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    unbroken.fit(data, epochs=6, verbose=0)
    losses = unbroken.history.history["loss"]
    assert trainer.history.history["loss"] == losses[:3] and trainer.history.phases[0].epochs == 3
    assert trainer.predict(data.files["test"][0]).label in data.class_names
    # Started again, the run continues to the end of the phase.
    resumed = run(checkpoint_dir=tmp_path)
    resumed.fit(data, epochs=6, verbose=0)
    assert resumed.history.history["loss"] == losses
