"""The garbage collector during a phase of training: new garbage goes, old objects are left alone, all is as before."""

from __future__ import annotations

import gc
import weakref

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit._utils.gc import frozen_gc


class Loop:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


# Objects that Python itself may have set aside when it started, as 3.12 does.
FEW = 1000


def test_new_garbage_is_collected_and_old_garbage_afterwards() -> None:
    gc.collect()
    old = weakref.ref(Loop())
    with frozen_gc():
        new = weakref.ref(Loop())
        gc.collect()
        assert new() is None and old() is not None
    gc.collect()
    assert old() is None


def test_all_is_as_before_also_after_an_error() -> None:
    with pytest.raises(ValueError, match="stop"), frozen_gc():
        assert gc.get_freeze_count() > FEW
        raise ValueError("stop")
    assert gc.get_freeze_count() <= FEW and gc.isenabled()


def test_a_process_that_has_set_objects_aside_keeps_them_there() -> None:
    gc.freeze()
    try:
        count = gc.get_freeze_count()
        with frozen_gc():
            assert gc.get_freeze_count() == count
        assert gc.get_freeze_count() == count
    finally:
        gc.unfreeze()


def test_nothing_stays_set_aside_after_a_phase() -> None:
    seen: list[int] = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            seen.append(gc.get_freeze_count())

    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    data = tk.DatasetBuilder((images, np.arange(40) % 2), image_size=32, validation=0.2).build()
    tk.Trainer(small_classifier()).fit(data, epochs=1, callbacks=[Watch()], verbose=0)
    assert seen and seen[0] > FEW
    assert gc.get_freeze_count() <= FEW
