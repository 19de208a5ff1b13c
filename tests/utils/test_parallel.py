"""Ordered, bounded mapping over threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.waiting import TIMEOUT
from transferkit._utils import parallel
from transferkit._utils.parallel import num_workers, ordered_map


def test_ordered_map_keeps_order() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.05 if item % 3 == 0 else 0)
        return item * item

    assert list(ordered_map(slow_first, range(20))) == [item * item for item in range(20)]
    assert list(ordered_map(slow_first, [])) == []


def test_ordered_map_uses_threads() -> None:
    barrier = threading.Barrier(2)
    # Two calls that wait for each other return only when they run at once.
    assert list(ordered_map(lambda item: barrier.wait(TIMEOUT) >= 0, range(2))) == [True, True]


@pytest.mark.parametrize("ahead", [None, 1, 5])
def test_ordered_map_reads_items_lazily(ahead: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "num_workers", lambda: 3)
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = ordered_map(lambda item: item, items(), ahead=ahead)
    limit = 6 if ahead is None else ahead
    for count, result in enumerate(results, 1):
        assert result == count - 1
        assert len(taken) <= count + limit
        if count == 10:
            assert len(taken) == 10 + limit
            break


def test_ordered_map_raises_error_in_order() -> None:
    results = ordered_map(lambda item: 1 // item, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_ordered_map_closed_early_cancels_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "num_workers", lambda: 1)
    done: list[int] = []

    def slow(item: int) -> int:
        time.sleep(0.01)
        done.append(item)
        return item

    results = ordered_map(slow, range(100), ahead=50)
    assert next(results) == 0
    results.close()
    time.sleep(0.1)
    assert len(done) < 50


def test_num_workers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for threads, workers in ((1, 2), (4, 5), (128, 16)):
        monkeypatch.setattr(parallel, "num_threads", lambda threads=threads: threads)
        assert num_workers() == workers
