"""Keeps the garbage collector away from long-lived objects."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

# Python 3.12 freezes a few hundred objects at startup; a process that freezes on purpose has many more.
_INTERPRETER_FROZEN_OBJECTS = 1000


@contextlib.contextmanager
def frozen_gc() -> Iterator[None]:
    """Exclude existing objects from automatic garbage collection inside the context.

    Tracing a function creates enough objects to trigger full collections, and each of them visits the 400,000 objects
    of TensorFlow and Keras for a quarter of a second. A process that has frozen objects itself is left alone.
    """
    if gc.get_freeze_count() > _INTERPRETER_FROZEN_OBJECTS:
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
