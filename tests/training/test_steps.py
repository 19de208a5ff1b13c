"""Many steps a call: as many as asked for, and none of the next epoch."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.training.feature_model import steps_per_call


@pytest.mark.parametrize("steps", [1, 63, 64, 65, 100, 127, 313, 6250])
def test_calls_are_about_equal_and_not_too_long(steps: int) -> None:
    size = steps_per_call(steps)
    calls = -(-steps // size)
    assert size <= 64 and calls == -(-steps // 64)
    assert calls * size - steps < calls


def test_an_epoch_that_is_no_multiple_of_a_call_takes_its_own_batches_and_no_others() -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (290, 32, 32, 3), np.uint8)
    data = tk.DatasetBuilder((images, np.arange(290) % 2), image_size=32, batch_size=3, validation=0.1).build()
    histories, counts = [], []
    for cache in (True, False):
        trainer = tk.Trainer(small_classifier(), learning_rate=1e-2, cache=cache)
        histories.append(trainer.fit(data, epochs=3, verbose=0).history)
        counts.append(int(trainer.model.optimizer.iterations))
    assert len(data.splits["train"]) == 260, "87 batches: more than one call takes, and no multiple"
    assert counts == [3 * 87, 3 * 87]
    for name, values in histories[1].items():
        np.testing.assert_allclose(histories[0][name], values, atol=1e-5, err_msg=name)


def test_a_callback_may_stop_in_the_middle_of_an_epoch() -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            self.model.stop_training = True

    images = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3), np.uint8)
    data = tk.DatasetBuilder((images, np.arange(200) % 2), image_size=32, batch_size=2, validation=0.1).build()
    trainer = tk.Trainer(small_classifier())
    history = trainer.fit(data, epochs=3, callbacks=[Stop()], verbose=0)
    assert len(history.history["loss"]) == 1
    assert int(trainer.model.optimizer.iterations) == 45
    assert len(trainer.fit(data, epochs=2, verbose=0).history["loss"]) == 2
