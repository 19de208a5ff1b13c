"""A cluster that computes shards, simulated event by event; chance comes from outside, so that it can be repeated.

The workers take shards from one queue as those of `RayEngine` do: a worker gets its first shard when it has started and
the next one when the driver has its result; the shard of a worker that is lost is the next to be given; no shard is
computed by two workers at a time.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
from collections.abc import Callable, Iterator

# As in transferkit/sharding/ray_engine.py: so often may workers be lost at the same shard.
MAX_DEATHS = 5


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Workers and their times in seconds.

    Attributes:
        workers: number of workers.
        start: from the request of a worker to its first shard.
        image: of an image.
        shard: of a shard, in addition to its images.
        driver: of the driver for a result, one after another.
        replacement: from the loss of a worker until another machine is there, which then starts; None where there is
            no other machine.
    """

    workers: int = 100
    start: float = 20.0
    image: float = 0.0033
    shard: float = 0.1
    driver: float = 0.001
    replacement: float | None = 120.0


@dataclasses.dataclass(frozen=True)
class Events:
    """What happens by chance; each iterator yields the next value.

    Attributes:
        lives: seconds from the request of a worker until it is lost, one per worker that is started.
        speeds: how many times longer each worker takes.
        delays: how many times longer each shard takes, one each time that it is begun.
    """

    lives: Iterator[float] = dataclasses.field(default_factory=lambda: itertools.repeat(math.inf))
    speeds: Iterator[float] = dataclasses.field(default_factory=lambda: itertools.repeat(1.0))
    delays: Iterator[float] = dataclasses.field(default_factory=lambda: itertools.repeat(1.0))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A simulated job.

    Attributes:
        seconds: until the driver has the last result; infinite for a job that does not complete.
        lost_shards: number of shards that were lost with a worker.
        lost_images: number of images that were computed for them.
        idle: seconds that workers waited because no shard was left, all workers together.
        files: number of shards.
    """

    seconds: float
    lost_shards: int
    lost_images: float
    idle: float
    files: int


@dataclasses.dataclass
class _Worker:
    speed: float
    shard: int | None = None
    began: float = 0.0
    ends: float = math.inf
    waits_since: float | None = None


class Simulation:
    """A job on a cluster.

    Args:
        cluster: `Cluster`.
        images: int >= 1. Number of images.
        size: int >= 1. Number of images per shard.
        events: `Events`.
    """

    def __init__(self, cluster: Cluster, images: int, size: int, events: Events) -> None:
        self._cluster, self._events = cluster, events
        self._rows = [min(size, images - start) for start in range(0, images, size)]
        self._left = list(reversed(range(len(self._rows))))
        self._deaths = [0] * len(self._rows)
        # (time, order of the requests, what happens, number of the worker)
        self._queue: list[tuple[float, int, Callable[[float, int], None], int]] = []
        self._order = itertools.count()
        self._workers: dict[int, _Worker] = {}
        self._complete = self._lost_shards = self._most_deaths = 0
        self._driver_free = self._idle = self._lost_images = 0.0

    def run(self) -> Outcome:
        """Return the outcome."""
        for _ in range(min(self._cluster.workers, len(self._rows))):
            self._request(0.0)
        now = 0.0
        while self._queue and self._complete < len(self._rows) and self._most_deaths < MAX_DEATHS:
            now, _, happen, number = heapq.heappop(self._queue)
            # Nothing more happens to a worker that was lost.
            if number in self._workers:
                happen(now, number)
        idle = self._idle + sum(now - one.waits_since for one in self._workers.values() if one.waits_since is not None)
        seconds = now if self._complete == len(self._rows) else math.inf
        return Outcome(seconds, self._lost_shards, self._lost_images, idle, len(self._rows))

    def _at(self, time: float, happen: Callable[[float, int], None], number: int) -> None:
        if time < math.inf:
            heapq.heappush(self._queue, (time, next(self._order), happen, number))

    def _request(self, time: float) -> None:
        number = next(self._order)
        self._workers[number] = _Worker(next(self._events.speeds))
        self._at(time + self._cluster.start, self._report, number)
        self._at(time + next(self._events.lives), self._lose, number)

    def _report(self, now: float, number: int) -> None:
        """A worker reports to the driver, which gives it a shard."""
        self._driver_free = max(now, self._driver_free) + self._cluster.driver
        self._at(self._driver_free, self._take, number)

    def _complete_shard(self, now: float, number: int) -> None:
        # Its file is there, also when the worker is lost before the driver knows.
        self._workers[number].shard = None
        self._complete += 1
        self._report(now, number)

    def _take(self, now: float, number: int) -> None:
        worker = self._workers[number]
        if not self._left:
            worker.waits_since = now
            return
        worker.shard, worker.began, worker.waits_since = self._left.pop(), now, None
        work = self._cluster.shard + self._rows[worker.shard] * self._cluster.image
        worker.ends = now + work * worker.speed * next(self._events.delays)
        self._at(worker.ends, self._complete_shard, number)

    def _lose(self, now: float, number: int) -> None:
        worker = self._workers.pop(number)
        if worker.waits_since is not None:
            self._idle += now - worker.waits_since
        if worker.shard is not None:
            self._lose_shard(worker, worker.shard, now)
        if self._cluster.replacement is not None:
            self._request(now + self._cluster.replacement)

    def _lose_shard(self, worker: _Worker, shard: int, now: float) -> None:
        self._lost_shards += 1
        self._lost_images += self._rows[shard] * (now - worker.began) / (worker.ends - worker.began)
        self._deaths[shard] += 1
        self._most_deaths = max(self._most_deaths, self._deaths[shard])
        self._left.append(shard)
        waiting = next((number for number, one in self._workers.items() if one.waits_since is not None), None)
        if waiting is not None:
            self._idle += now - (self._workers[waiting].waits_since or 0.0)
            self._take(now, waiting)
