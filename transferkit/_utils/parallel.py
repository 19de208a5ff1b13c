"""Ordered, bounded mapping over threads."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from transferkit._utils.cores import num_threads

Item = TypeVar("Item")
Result = TypeVar("Result")


def num_workers() -> int:
    """Return the number of decoding threads: one more than can work at once, because one may wait for the disk."""
    return min(16, num_threads() + 1)


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int | None = None
) -> Generator[Result, None, None]:
    """Yield `function(item)` for each item in order, computed in threads, `ahead` results in advance.

    Items are read lazily. By default twice as many results as threads are computed ahead, which bounds memory.

    >>> list(ordered_map(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    workers = num_workers()
    ahead = 2 * workers if ahead is None else ahead
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            # A consumer that stops early (Ctrl-C) must not wait for all that was submitted.
            pool.shutdown(wait=False, cancel_futures=True)


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items of an iterator; a thread computes the next one while the one before is in use.

    >>> list(read_ahead(iter([1, 2])))
    [1, 2]
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        pending = pool.submit(lambda: [*itertools.islice(items, 1)])
        while item := pending.result():
            pending = pool.submit(lambda: [*itertools.islice(items, 1)])
            yield item[0]
