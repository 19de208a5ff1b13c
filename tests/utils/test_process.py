"""The garbage collector and TensorFlow's logger inside a context."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.training.conftest import small_classifier
from transferkit._utils.process import frozen_gc, without_retracing_warnings

# Python 3.12 itself freezes a few hundred objects at startup.
FEW = 1000


_COLLECT = """
import gc, weakref
from transferkit._utils.process import frozen_gc

class Cycle:
    def __init__(self):
        self.itself = self

old = weakref.ref(Cycle())
with frozen_gc():
    new = weakref.ref(Cycle())
    gc.collect()
    print(new() is None, old() is not None)
gc.collect()
print(old() is None)
"""


def test_frozen_gc_collects_new_objects_only() -> None:
    # In a process without TensorFlow: collecting the garbage of all tests so far takes a minute.
    run = subprocess.run([sys.executable, "-c", _COLLECT], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "True", "True"]


_LOOP = """
import gc
from transferkit._utils.process import frozen_gc

with frozen_gc():
    pass
start = len(gc.get_objects())
for _ in range(50):
    # As a model and its trainer, which refer to each other and are dropped before the next fit.
    cycle = [[index] for index in range(start // 20)]
    cycle.append(cycle)
    with frozen_gc():
        # Young objects are collected, old ones are not.
        gc.collect(0)
print(len(gc.get_objects()) / start)
"""


def test_objects_do_not_grow_in_loop_of_contexts() -> None:
    run = subprocess.run([sys.executable, "-c", _LOOP], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 2.2


def test_frozen_gc_after_error_is_undone() -> None:
    with pytest.raises(ValueError, match="stop"), frozen_gc():
        assert gc.get_freeze_count() > FEW
        raise ValueError("stop")
    assert gc.get_freeze_count() <= FEW and gc.isenabled()


def test_frozen_gc_keeps_freeze_of_process() -> None:
    gc.freeze()
    try:
        count = gc.get_freeze_count()
        with frozen_gc():
            assert gc.get_freeze_count() == count
        assert gc.get_freeze_count() == count
    finally:
        gc.unfreeze()


def test_fit_freezes_and_unfreezes_objects() -> None:
    seen: list[int] = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            seen.append(gc.get_freeze_count())

    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    data = tk.DatasetBuilder((images, np.arange(40) % 2), image_size=32, validation=0.2).build()
    tk.Trainer(small_classifier()).fit(data, epochs=1, callbacks=[Watch()], verbose=0)
    assert seen and seen[0] > FEW
    assert gc.get_freeze_count() <= FEW


def test_without_retracing_warnings_hides_only_these(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("tensorflow")
    retracing = "5 out of the last %d calls to %s triggered tf.function retracing. Tracing is expensive"
    with caplog.at_level(logging.WARNING, "tensorflow"):
        with pytest.raises(KeyError), without_retracing_warnings():
            logger.warning(retracing, 5, "f")
            logger.warning("another message")
            raise KeyError
        logger.warning(retracing, 6, "f")
    assert [record.getMessage()[:20] for record in caplog.records] == ["another message", "5 out of the last 6 "]
