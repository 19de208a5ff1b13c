"""Schedules: golden values, and the learning rates that training uses."""

from __future__ import annotations

from typing import Any

import keras
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit.data import Data
from transferkit.training.schedules import OneCycle, make_schedule


def test_cosine_rises_and_falls() -> None:
    schedule = make_schedule("cosine", 1.0, 100)
    assert [float(schedule(step)) for step in (0, 5, 10, 55, 100)] == pytest.approx([0, 0.5, 1, 0.5, 0], abs=1e-6)
    assert float(make_schedule("cosine", 1.0, 2)(1)) == pytest.approx(0.5)


def test_one_cycle_rises_and_falls() -> None:
    schedule = OneCycle(1.0, 100)
    values = [float(schedule(step)) for step in range(101)]
    assert values[0] == pytest.approx(0.04) and values[25] == 1.0 and values[100] == pytest.approx(1e-5)
    assert values[:26] == sorted(values[:26]) and values[25:] == sorted(values[25:], reverse=True)
    copy = OneCycle.from_config(schedule.get_config())
    assert [float(copy(step)) for step in range(101)] == values


class _Rates(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.rates.append(float(self.model.optimizer.learning_rate))


@pytest.mark.parametrize("cache", [True, False])
def test_schedule_starts_again_in_each_phase(data: Data, cache: bool) -> None:
    seen = _Rates()
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2, cache=cache, callbacks=[seen])
    # 3 steps per epoch.
    trainer.fit(
        data, epochs=2, schedule=keras.optimizers.schedules.PiecewiseConstantDecay([3], [1e-3, 1e-4]), verbose=0
    )
    trainer.fine_tune(data, epochs=2, schedule="cosine", learning_rate=1e-3, verbose=0)
    trainer.fit(data, epochs=1, schedule="constant", learning_rate=2e-3, verbose=0)
    cosine = keras.optimizers.schedules.CosineDecay(0.0, 5, warmup_target=1e-3, warmup_steps=1)
    expected = [1e-3, 1e-4, float(cosine(3)), float(cosine(6)), 2e-3]
    assert seen.rates == pytest.approx(expected, rel=1e-5)


def test_default_schedule_of_fine_tune(data: Data) -> None:
    trainer = tk.Trainer(small_classifier(), learning_rate=1e-2)
    trainer.fine_tune(data, epochs=1, keep_best=False, verbose=0)
    assert isinstance(trainer.model.optimizer._learning_rate, keras.optimizers.schedules.CosineDecay)
    # A callback of the user can set the learning rate, as before there were schedules.
    seen = _Rates()
    callbacks = [keras.callbacks.LearningRateScheduler(lambda epoch, rate: 1e-4), seen]
    trainer.fine_tune(data, epochs=1, callbacks=callbacks, verbose=0)
    assert seen.rates == pytest.approx([1e-4])
    message = "`schedule` must be 'constant' with a callback that sets.* Received: 'cosine' and LearningRateScheduler"
    with pytest.raises(ValueError, match=message):
        trainer.fit(data, epochs=1, schedule="cosine", callbacks=callbacks, verbose=0)


def test_schedule_with_scheduled_optimizer_raises(data: Data) -> None:
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 10))
    with pytest.raises(ValueError, match="`schedule` must not be given with an optimizer that has one"):
        tk.Trainer(small_classifier(), optimizer=optimizer).fit(data, epochs=1, schedule="one_cycle", verbose=0)
