"""Computes shards in several local processes; one that dies is replaced, and its shard computed again."""

from __future__ import annotations

import collections
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Queue

from transferkit._utils.cores import environment_with_equal_threads
from transferkit.errors import ShardError
from transferkit.sharding.worker import ShardResult

# So often may processes die at the same shard: an image that makes a decoder crash would do it each time.
_MAX_DEATHS = 3
_LAST_LINES = 5


def run_in_processes(folder: Path, numbers: Sequence[int], count: int) -> Iterator[ShardResult]:
    """Yield the result of each shard when it is complete.

    Args:
        folder: written by `save_work`.
        numbers: of the shards.
        count: number of processes.

    Raises:
        ShardError: when a shard ends its process again and again, or cannot be computed in any.
    """
    pool = _Pool(folder, numbers, min(count, len(numbers)))
    try:
        for _ in numbers:
            result = pool.results.get()
            if isinstance(result, Exception):
                raise result
            yield result
    finally:
        pool.close()


class _Pool:
    """A thread per process gives it one shard after another."""

    def __init__(self, folder: Path, numbers: Sequence[int], count: int) -> None:
        self.results: Queue[ShardResult | Exception] = Queue()
        self._folder, self._count = folder, count
        self._left = collections.deque(numbers)
        self._processes: dict[int, _Process] = {}
        self._closed = threading.Event()
        self._threads = [threading.Thread(target=self._serve, args=(index,), daemon=True) for index in range(count)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End the processes; unfinished shards are lost."""
        self._closed.set()
        for process in list(self._processes.values()):
            process.kill()
        for thread in self._threads:
            thread.join()

    def _serve(self, index: int) -> None:
        try:
            deaths, number = 0, self._next()
            while number is not None:
                with _Process(self._folder, index, self._count) as process:
                    self._processes[index] = process
                    while number is not None and (result := process.compute(number)) is not None:
                        self.results.put(result)
                        deaths, number = 0, self._next()
                deaths += number is not None
                if deaths == _MAX_DEATHS or self._closed.is_set():
                    raise ShardError(
                        f"A shard must be computable. Received: shard {number}, whose process ended {deaths} times: "
                        f"{process.last_words}. Compute the others by leaving out its images."
                    )
        except Exception as error:  # Raised where the results are read
            self.results.put(error)

    def _next(self) -> int | None:
        with contextlib.suppress(IndexError):
            return None if self._closed.is_set() else self._left.popleft()
        return None


class _Process:
    """A worker process with its input and output.

    Attributes:
        last_words: the end of its standard error, once it has ended.
    """

    def __init__(self, folder: Path, index: int, count: int) -> None:
        command = [sys.executable, "-m", "transferkit.sharding.worker_process", str(folder), str(index), str(count)]
        self.last_words = ""
        self._log = open(folder / f"worker_{index}.log", "w+b")  # noqa: SIM115 - it stays open
        self._process = subprocess.Popen(
            command,
            env=environment_with_equal_threads(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
        )

    def compute(self, number: int) -> ShardResult | None:
        """Return the result of a shard, or None when the process ended.

        Raises:
            ShardError: when the shard cannot be computed in any process.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(f"{number}\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (OSError, ValueError):
            return None
        if not line.endswith("\n"):
            return None
        values = json.loads(line)
        if list(values) == ["error"]:
            raise ShardError(values["error"])
        return ShardResult(**values)

    def kill(self) -> None:
        """End the process."""
        self._process.kill()

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        self.last_words = " ".join(lines[-_LAST_LINES:]) or "it wrote nothing"
        self._log.close()
