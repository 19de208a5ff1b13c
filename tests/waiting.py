"""Limits on waiting in tests.

A machine that is suspended, or busy with other jobs, may stand still for minutes. So a test waits for what must happen
as long as `TIMEOUT`, which costs nothing unless it fails, and work is limited in seconds of the processor. Seconds of a
clock are compared only with a wait of `TIMEOUT` that must not take place.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

TIMEOUT = 600.0


def wait_until(condition: Callable[[], Any]) -> None:
    """Return as soon as the condition holds; fail when it does not happen."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Fail when the body waits for the end of a limit of `TIMEOUT`."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 0.9 * TIMEOUT


@contextlib.contextmanager
def processor_limit(seconds: float) -> Iterator[None]:
    """Fail when this process works for more seconds of the processor in the body."""
    started = time.process_time()
    yield
    assert time.process_time() - started < seconds
