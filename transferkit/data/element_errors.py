"""Errors of the elements of a user's dataset, which TensorFlow reports as its own; TensorFlow is not imported."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from transferkit.errors import DataError


@contextlib.contextmanager
def element_errors() -> Iterator[None]:
    """Raise the DataError of an element in place of the error of TensorFlow that quotes it."""
    try:
        yield
    except Exception as error:
        is_of_tensorflow = type(error).__module__.startswith("tensorflow.")
        found = re.search(r"\bDataError: (.*)", str(error)) if is_of_tensorflow else None
        if found is None:
            raise
        raise DataError(found[1]) from error
