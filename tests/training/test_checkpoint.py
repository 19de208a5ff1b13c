"""An interrupted run, taken up again, ends with the weights of the unbroken one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data import Data


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


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("epoch", [2, 4])
def test_a_resumed_run_ends_like_the_unbroken_one(data: Data, tmp_path: Path, cache: bool, epoch: int) -> None:
    unbroken = run(data, None, cache=cache)
    with pytest.raises(_Interruption):
        run(data, tmp_path, cache=cache, interrupt=epoch)
    resumed = run(data, tmp_path, cache=cache)
    assert resumed.history.history == unbroken.history.history
    for mine, theirs in zip(resumed.model.get_weights(), unbroken.model.get_weights()):
        np.testing.assert_array_equal(mine, theirs)


def test_a_finished_phase_is_not_trained_again(data: Data, tmp_path: Path) -> None:
    first = run(data, tmp_path, cache=True)
    # An interruption in the first epoch would be raised if any epoch began.
    again = run(data, tmp_path, cache=True, interrupt=0)
    assert again.history.history == first.history.history


def test_a_folder_of_another_run_is_refused(data: Data, tmp_path: Path) -> None:
    tk.Trainer(small_classifier(), seed=1, checkpoint_dir=tmp_path).fit(data, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="must belong to this run.*seed: 1 then, 2 now.*Choose another folder"):
        tk.Trainer(small_classifier(), seed=2, checkpoint_dir=tmp_path).fit(data, epochs=1, verbose=0)
