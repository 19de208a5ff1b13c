"""A bar for what takes long, without another dependency."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

Item = TypeVar("Item")
_WIDTH = 30
# The bar is drawn anew so often at most.
_PAUSE_SECONDS = 0.25


class Progress:
    """Counts what is done, and shows on the standard error how much that is; a context manager, which ends the bar.

    Args:
        what: what is being done, in words.
        total: how many there are in all.
        shown: whether anything is written.
        patience: seconds before the bar appears: what is done sooner shows none.

    >>> with Progress("Working", 10, shown=False) as progress:
    ...     progress.advance(4)
    ...     progress.done
    4
    """

    def __init__(self, what: str, total: int, *, shown: bool = True, delay: float = 2.0) -> None:
        self.done = 0
        self._what, self._total, self._shown, self._patience = what, total, shown, delay
        self._started, self._drawn = time.monotonic(), -_PAUSE_SECONDS
        self._visible = False

    @property
    def rate(self) -> float:
        """How many a second, so far."""
        return self.done / max(time.monotonic() - self._started, 1e-6)

    def advance(self, count: int = 1) -> None:
        """Count `count` more as done."""
        self.done += count
        now = time.monotonic()
        if self._shown and now - self._started > self._patience and now - self._drawn > _PAUSE_SECONDS:
            self._drawn, self._visible = now, True
            self._draw(f", {(self._total - self.done) / self.rate:.0f} s left ")

    def _draw(self, end: str) -> None:
        bar = "=" * (_WIDTH * self.done // max(self._total, 1))
        line = f"\r{self._what}: [{bar:{_WIDTH}}] {self.done:,} of {self._total:,}{end}"
        print(line, end="", file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        if self._visible:
            self._draw(f"{' ' * 16}\n")


def track(items: Iterable[Item], total: int, what: str, *, shown: bool = True, delay: float = 2.0) -> Iterator[Item]:
    """Yield `items`, and after `patience` seconds show how many of `total` are done; see `Progress`.

    >>> list(track([1, 2], 2, "Counting"))
    [1, 2]
    """
    with Progress(what, total, shown=shown, delay=delay) as progress:
        for item in items:
            progress.advance()
            yield item
