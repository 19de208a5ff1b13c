"""TensorFlow log messages that users cannot act on."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


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
