"""Runs the images of several requests together."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from transferkit.serving.errors import busy
from transferkit.serving.worker import WorkerThread

# From the images of a batch to one result or one error for each.
Run = Callable[[list[Any]], list[Any]]
# Called with the number of images of a batch and its seconds.
Observe = Callable[[int, float], None]


@dataclasses.dataclass(frozen=True)
class BatchLimits:
    """Limits of a batcher.

    Attributes:
        batch_size: images that are run together.
        queue: images that wait.
        delay_seconds: how long a batch waits for requests that are being received.
    """

    batch_size: int
    queue: int
    delay_seconds: float


class Batcher:
    """A queue of images, and a thread that runs as many of them together as there are.

    An image that comes alone is run at once: a batch waits only while other requests are being received.
    """

    def __init__(self, name: str, run: Run, limits: BatchLimits, observe: Observe | None = None) -> None:
        self._run, self._limits, self._observe = run, limits, observe
        self._worker = WorkerThread(name)
        self._queue: collections.deque[tuple[Any, asyncio.Future[Any]]] = collections.deque()
        self._changed = asyncio.Event()
        self._arriving, self._running = 0, False
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._queue)

    @contextlib.contextmanager
    def arriving(self) -> Iterator[None]:
        """Count a request that is being received, for which a batch may wait."""
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1
            self._changed.set()

    def check_space(self, count: int = 1) -> None:
        """Raise a RequestError when the queue has no place for this many images."""
        if len(self._queue) + count > self._limits.queue:
            raise busy(
                "queue_full",
                f"At most {self._limits.queue:,} images must wait. Received: {count:,} more than {len(self._queue):,} "
                "that wait already. Try again later.",
            )

    def submit(self, items: Sequence[Any], seconds: float) -> Awaitable[list[Any]]:
        """Put images into the queue at once; the awaited value is one result or one error for each, in order.

        Raises:
            RequestError: when the queue is full.
            asyncio.TimeoutError: while waiting, when the results are not ready in so many seconds.
        """
        self.check_space(len(items))
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in items]
        self._queue.extend(zip(items, futures))
        self._changed.set()
        if self._task is None:
            self._task = loop.create_task(self._serve())
        return self._results_of(futures, seconds)

    async def _results_of(self, futures: list[asyncio.Future[Any]], seconds: float) -> list[Any]:
        await asyncio.wait(futures, timeout=seconds)
        late = [future for future in futures if not future.done()]
        for future in late:
            future.cancel()
        if late:
            # Their images must not stay in memory while a slow batch runs.
            self._queue = collections.deque(entry for entry in self._queue if not entry[1].done())
            raise asyncio.TimeoutError
        return [future.result() for future in futures]

    async def close(self, seconds: float) -> bool:
        """Finish the images that wait; return whether the thread ended in so many seconds."""
        deadline = time.monotonic() + seconds
        while (self._queue or self._running) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        return await self._worker.close(deadline - time.monotonic())

    async def _serve(self) -> None:
        while True:
            while not self._queue:
                self._changed.clear()
                await self._changed.wait()
            await self._wait_for_more()
            if batch := self._take():
                await self._run_batch(batch)

    async def _wait_for_more(self) -> None:
        deadline = time.monotonic() + self._limits.delay_seconds
        while self._arriving and len(self._queue) < self._limits.batch_size:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return
            self._changed.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), remaining)

    def _take(self) -> list[tuple[Any, asyncio.Future[Any]]]:
        batch: list[tuple[Any, asyncio.Future[Any]]] = []
        while self._queue and len(batch) < self._limits.batch_size:
            item, future = self._queue.popleft()
            if not future.done():
                batch.append((item, future))
        return batch

    async def _run_batch(self, batch: list[tuple[Any, asyncio.Future[Any]]]) -> None:
        started = time.monotonic()
        self._running = True
        try:
            results = await self._worker.run(self._results, [item for item, _ in batch])
        finally:
            self._running = False
        for (_, future), result in zip(batch, results):
            if not future.done():
                future.set_result(result)
        if self._observe is not None:
            self._observe(len(batch), time.monotonic() - started)

    def _results(self, items: list[Any]) -> list[Any]:
        """Return one result or one error for each item; one that fails does not fail the others."""
        try:
            return self._run(items)
        except Exception as error:
            if len(items) == 1:
                return [error]
        return [result for item in items for result in self._results([item])]
