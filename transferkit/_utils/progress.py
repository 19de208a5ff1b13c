"""Progress bars for long operations, shown on a terminal or in a notebook only."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

Item = TypeVar("Item")
_BAR_WIDTH = 30
_UPDATE_SECONDS = 0.25


class Progress:
    """A context manager that counts completed items and shows a bar on a terminal or in a notebook.

    Nothing is written to a file or a pipe, because a bar redraws its line with carriage returns.

    Args:
        description: what is being done, for example "Reading images".
        total: int, or None if unknown.
        enabled: whether a bar may be shown. Defaults to True.
        delay: seconds before the bar appears, so that a short operation shows none. Defaults to 2.
        unit: the unit to show, for example "MB". Defaults to "".
        scale: number of items per unit. Defaults to 1.

    >>> with Progress("Reading images", 10, enabled=False) as progress:
    ...     progress.advance(4)
    ...     progress.completed
    4
    """

    def __init__(
        self,
        description: str,
        total: int | None,
        *,
        enabled: bool = True,
        delay: float = 2,
        unit: str = "",
        scale: float = 1,
    ) -> None:
        self.completed = 0
        self._description, self._total, self._delay, self._unit, self._scale = description, total, delay, unit, scale
        self._enabled = enabled and _is_interactive()
        self._started = time.monotonic()
        self._updated: float | None = None

    @property
    def rate(self) -> float:
        """Completed items per second."""
        return self.completed / max(time.monotonic() - self._started, 1e-6)

    def advance(self, count: int = 1) -> None:
        """Add `count` completed items."""
        self.completed += count
        now = time.monotonic()
        last = self._started + self._delay if self._updated is None else self._updated + _UPDATE_SECONDS
        if self._enabled and now > last:
            self._updated = now
            remaining = 0 if self._total is None else max(self._total - self.completed, 0)
            self._show(f", {remaining / self.rate:.0f} s left " if remaining and self.completed else " ")

    def _show(self, end: str) -> None:
        digits = 0 if self._scale == 1 else 1
        text = f"{self.completed / self._scale:,.{digits}f}"
        if self._total is not None:
            bar = "=" * (_BAR_WIDTH * self.completed // max(self._total, 1))
            text = f"[{bar:{_BAR_WIDTH}}] {text} of {self._total / self._scale:,.{digits}f}"
        print(f"\r{self._description}: {text} {self._unit}".rstrip(), end=end, file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        if self._updated is not None:
            # The spaces erase the remaining time.
            self._show(f"{' ' * 16}\n")


def track(
    items: Iterable[Item], total: int, description: str, *, enabled: bool = True, delay: float = 2.0
) -> Iterator[Item]:
    """Yield `items` and show how many of `total` were taken; arguments as for `Progress`.

    >>> list(track([1, 2], 2, "Counting"))
    [1, 2]
    """
    with Progress(description, total, enabled=enabled, delay=delay) as progress:
        for item in items:
            progress.advance()
            yield item


def _is_interactive() -> bool:
    return sys.stderr is not None and (sys.stderr.isatty() or "ipykernel" in sys.modules)
