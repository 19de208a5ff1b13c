"""Batches: together when there are several, at once when there is one, in order, and none lost."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.waiting import TIMEOUT, at_once
from transferkit.serving.batcher import Batcher, BatchLimits
from transferkit.serving.errors import RequestError

LIMITS = BatchLimits(batch_size=4, queue=10, delay_seconds=0.5)


class Runs:
    """A function that records its batches, and waits for `gate`."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, items: list[Any]) -> list[Any]:
        self.batches.append(items)
        assert self.gate.wait(TIMEOUT)
        if -1 in items:
            raise ValueError("negative")
        return [10 * item for item in items]


def with_batcher(test: Callable[[Batcher, Runs], Any], limits: BatchLimits = LIMITS) -> Runs:
    runs = Runs()

    async def main() -> None:
        batcher = Batcher("test", runs, limits)
        try:
            await test(batcher, runs)
        finally:
            runs.gate.set()
            assert await batcher.close(TIMEOUT)

    asyncio.run(main())
    return runs


def test_single_item_is_run_at_once() -> None:
    async def test(batcher: Batcher, runs: Runs) -> None:
        with at_once():
            assert await batcher.submit([7], TIMEOUT) == [70]

    assert with_batcher(test, dataclasses.replace(LIMITS, delay_seconds=TIMEOUT)).batches == [[7]]


def test_items_that_wait_are_run_together_in_order() -> None:
    async def test(batcher: Batcher, runs: Runs) -> None:
        runs.gate.clear()
        requests = [asyncio.ensure_future(batcher.submit([number], TIMEOUT)) for number in range(7)]
        await asyncio.sleep(0.05)
        runs.gate.set()
        assert [await one for one in requests] == [[10 * number] for number in range(7)]

    batches = with_batcher(test).batches
    assert [number for batch in batches for number in batch] == list(range(7))
    assert len(batches) <= 3 and max(map(len, batches)) == 4


def test_items_of_one_request_may_be_of_several_batches() -> None:
    async def test(batcher: Batcher, runs: Runs) -> None:
        assert await batcher.submit(list(range(9)), TIMEOUT) == [10 * number for number in range(9)]

    assert [len(batch) for batch in with_batcher(test).batches] == [4, 4, 1]


def test_batch_waits_for_a_request_that_is_being_received() -> None:
    async def test(batcher: Batcher, runs: Runs) -> None:
        with batcher.arriving():
            first = asyncio.ensure_future(batcher.submit([1], TIMEOUT))
            await asyncio.sleep(0.1)
            assert runs.batches == []
            second = batcher.submit([2], TIMEOUT)
        assert await second == [20] and await first == [10]

    assert with_batcher(test).batches == [[1, 2]]


def test_batch_waits_no_longer_than_the_delay() -> None:
    async def test(batcher: Batcher, runs: Runs) -> None:
        with batcher.arriving():
            started = time.monotonic()
            assert await batcher.submit([1], TIMEOUT) == [10]
            assert time.monotonic() - started >= LIMITS.delay_seconds * 0.9

    with_batcher(test)


def test_full_queue_raises_429() -> None:
    async def test(batcher: Batcher, runs: Runs) -> None:
        runs.gate.clear()
        running = asyncio.ensure_future(batcher.submit([0], TIMEOUT))
        while not runs.batches:
            await asyncio.sleep(0.001)
        waiting = batcher.submit(list(range(10)), TIMEOUT)
        with pytest.raises(RequestError) as caught:
            batcher.submit([1], TIMEOUT)
        assert caught.value.status == 429 and caught.value.headers["Retry-After"]
        runs.gate.set()
        assert len(await waiting) == 10 and await running == [0]

    with_batcher(test)


def test_late_result_is_an_error_and_is_not_run() -> None:
    async def test(batcher: Batcher, runs: Runs) -> None:
        runs.gate.clear()
        running = asyncio.ensure_future(batcher.submit([0], TIMEOUT))
        while not runs.batches:
            await asyncio.sleep(0.001)
        with pytest.raises(asyncio.TimeoutError):
            await batcher.submit([1], 0.05)
        assert len(batcher) == 0
        runs.gate.set()
        assert await running == [0] and await batcher.submit([2], TIMEOUT) == [20]

    assert with_batcher(test).batches == [[0], [2]]


def test_failing_item_fails_no_other() -> None:
    async def test(batcher: Batcher, runs: Runs) -> None:
        results = await batcher.submit([1, -1, 2], TIMEOUT)
        assert results[0] == 10 and isinstance(results[1], ValueError) and results[2] == 20

    with_batcher(test)


def test_close_finishes_what_waits() -> None:
    runs = Runs()

    async def main() -> list[Any]:
        batcher = Batcher("test", runs, LIMITS)
        requests = [asyncio.ensure_future(batcher.submit([number], TIMEOUT)) for number in range(9)]
        await asyncio.sleep(0)
        assert await batcher.close(TIMEOUT)
        return [await one for one in requests]

    assert asyncio.run(main()) == [[10 * number] for number in range(9)]


def test_close_does_not_wait_for_a_function_that_does_not_return() -> None:
    runs = Runs()
    runs.gate.clear()

    async def main() -> bool:
        batcher = Batcher("test", runs, LIMITS)
        pending = asyncio.ensure_future(batcher.submit([1], 0.1))
        await asyncio.gather(pending, return_exceptions=True)
        return await batcher.close(0.1)

    assert not asyncio.run(main())
    runs.gate.set()
