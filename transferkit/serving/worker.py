"""A thread that runs functions for coroutines."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any


class WorkerThread:
    """One thread, in which functions run one after the other.

    It is a daemon, unlike the threads of an executor: a function that never returns does not keep the process alive.
    """

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return the result of a function that is called in the thread."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def job() -> None:
            result, error = None, None
            try:
                result = function(*args)
            except Exception as caught:
                error = caught
            # The loop is closed when a shutdown did not wait.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_finish, future, result, error)

        self._jobs.put(job)
        return await future

    async def close(self, seconds: float) -> bool:
        """End the thread after the functions that it was given; return whether it ended in so many seconds."""
        self._jobs.put(None)
        deadline = time.monotonic() + seconds
        while self._thread.is_alive() and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            # The thread must not hold the images of its last job while it waits for the next one.
            del job


def _finish(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
