"""A bar for what takes long, without another dependency."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["with_bar"]

Item = TypeVar("Item")
_WIDTH = 30


def with_bar(
    items: Iterable[Item], total: int, what: str, *, shown: bool = True, patience: float = 2.0
) -> Iterator[Item]:
    """Yield `items`, and after `patience` seconds show on the standard error how many of `total` are done.

    >>> list(with_bar([1, 2], 2, "Counting"))
    [1, 2]
    """
    started = drawn = time.monotonic()
    visible = False
    for number, item in enumerate(items, 1):
        now = time.monotonic()
        if shown and now - started > patience and (now - drawn > 0.25 or not visible):
            drawn, visible = now, True
            left = (now - started) * (total - number) / number
            _draw(f"{what}: [{'=' * (_WIDTH * number // total):{_WIDTH}}] {number:,} of {total:,}, {left:.0f} s left ")
        yield item
    if visible:
        _draw(f"{what}: [{'=' * _WIDTH}] {total:,} of {total:,}{' ' * 16}\n")


def _draw(line: str) -> None:
    print(f"\r{line}", end="", file=sys.stderr, flush=True)
