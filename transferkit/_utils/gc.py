"""Keeping Python's garbage collector from what was there before: with TensorFlow, four hundred thousand objects."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

# Python 3.12 sets some hundred objects aside when it starts; who does so on purpose has many more.
_INTERPRETER_FROZEN_OBJECTS = 1000


@contextlib.contextmanager
def frozen_gc() -> Iterator[None]:
    """Let automatic collections look only at objects made in the meantime; afterwards all are as before.

    To trace a function makes enough objects for a full collection, which looks at all modules of TensorFlow and Keras:
    a quarter of a second, again and again, in which nothing is found. What becomes garbage in the meantime and is older
    is collected later. A process that has set objects aside by itself is left alone.
    """
    if gc.get_freeze_count() > _INTERPRETER_FROZEN_OBJECTS:
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
