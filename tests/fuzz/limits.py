"""Limits on the time and the memory of fuzz cases."""

import contextlib
import resource
import sys
from collections.abc import Iterator

from tests.waiting import processor_limit

MAX_SECONDS, MAX_GROWTH_BYTES = 5.0, 1 << 30


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextlib.contextmanager
def time_limit(count: int = 1) -> Iterator[None]:
    """Fail when the body, which handles `count` cases, works longer than all of them may together."""
    with processor_limit(count * MAX_SECONDS):
        yield


@contextlib.contextmanager
def memory_limit() -> Iterator[None]:
    """Fail when the peak of the memory grows by more than a gigabyte in the body."""
    before = peak_memory()
    yield
    assert peak_memory() - before < MAX_GROWTH_BYTES
