"""Process-wide settings inside a context."""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
from collections.abc import Iterator

# Python 3.12 freezes a few hundred objects at startup; a process that freezes on purpose has many more.
_INTERPRETER_FROZEN_OBJECTS = 1000
# A full collection takes as long as a short fit, so it is made when the memory of Python has grown by this factor.
_GROWTH = 1.5
# The collector belongs to the process, and so does the number of blocks after the last full collection; at first, that
# of the first context. Counting blocks takes a hundredth of the time of counting objects.
_blocks_after_collection = 0


@contextlib.contextmanager
def frozen_gc() -> Iterator[None]:
    """Exclude existing objects from automatic garbage collection inside the context.

    Tracing a function creates enough objects to trigger full collections, and each of them visits the 400,000 objects
    of TensorFlow and Keras for a quarter of a second. A process that has frozen objects itself is left alone.

    Freezing resets the counters that start full collections. In a loop of short contexts there would be none, so one
    is made at the end of a context when Python has allocated half as many blocks again.
    """
    if gc.get_freeze_count() > _INTERPRETER_FROZEN_OBJECTS:
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        _collect_after_growth()


def _collect_after_growth() -> None:
    global _blocks_after_collection
    count = sys.getallocatedblocks()
    if not _blocks_after_collection:
        _blocks_after_collection = count
    elif count > _GROWTH * _blocks_after_collection:
        gc.collect()
        _blocks_after_collection = sys.getallocatedblocks()


@contextlib.contextmanager
def without_retracing_warnings() -> Iterator[None]:
    """Hide TensorFlow's warnings about retracing inside the context.

    A loop over folds or configurations traces the functions of each new model once, which TensorFlow takes for one
    function that is traced again and again.
    """
    logger = logging.getLogger("tensorflow")

    def is_other(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()

    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)
