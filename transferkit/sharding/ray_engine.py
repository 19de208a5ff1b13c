"""Computes shards on the machines of a Ray cluster."""

from __future__ import annotations

import dataclasses
import functools
import io
import math
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_int, check_number
from transferkit._utils.cores import limit_threads
from transferkit._utils.extras import import_extra
from transferkit.errors import ShardError
from transferkit.sharding.worker import ShardResult, Worker

# So often may workers die at the same shard.
_MAX_DEATHS = 5


@suggests_arguments
@dataclasses.dataclass(frozen=True)
class RayEngine:
    """A Ray cluster (extra `ray`) for `extract_features` and `Predictor.predict_many`.

    Each worker loads the model once, chooses and verifies its own engine where that of the caller is not available, and
    writes its shards itself: only numbers travel. A worker or machine that is lost is replaced where the cluster has
    room, and its shard computed again.

    Args:
        address: str, the address of a cluster, "auto" for the one of this machine's environment, or "local" for a new
            one on this machine. Defaults to "auto".
        num_workers: int >= 1. Largest number of workers; fewer run where the cluster has no more room. Defaults to 8.
        cpus_per_worker: float > 0. Cores that Ray reserves for a worker, which has as many threads, rounded up. One
            worker with all cores of a machine needs the least memory. Defaults to 1.
        gpus_per_worker: float >= 0. GPUs that Ray reserves for a worker, and the only ones it sees. Defaults to 0.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    >>> engine = tk.RayEngine(num_workers=32)  # doctest: +SKIP
    >>> tk.extract_features("s3://bucket/photos", backbone, out="s3://bucket/features", engine=engine)  # doctest: +SKIP
    """

    address: str = "auto"
    _: dataclasses.KW_ONLY
    num_workers: int = 8
    cpus_per_worker: float = 1
    gpus_per_worker: float = 0

    def __post_init__(self) -> None:
        check_int("num_workers", self.num_workers)
        check_number("cpus_per_worker", self.cpus_per_worker, above=0)
        check_number("gpus_per_worker", self.gpus_per_worker, minimum=0)


def run_on_ray(engine: RayEngine, folder: Path, numbers: Sequence[int]) -> Iterator[ShardResult]:
    """Yield the result of each shard when it is complete; `folder` was written by `save_work`.

    Raises:
        MissingExtraError: if Ray is not installed.
        ShardError: when workers die at the same shard again and again, or it cannot be computed by any.
    """
    ray = import_extra("ray", "RayEngine", "ray", "ray")
    if not ray.is_initialized():
        ray.init(address=engine.address, include_dashboard=False, log_to_driver=False)
    work = ray.put(_packed(folder))
    options = {"num_cpus": engine.cpus_per_worker, "num_gpus": engine.gpus_per_worker, "max_restarts": 0}
    actor = functools.partial(ray.remote(**options)(_RayWorker).remote, work, math.ceil(engine.cpus_per_worker))
    workers = _Workers(ray, actor, min(engine.num_workers, len(numbers)))
    try:
        yield from workers.run(numbers)
    finally:
        workers.close()


class _RayWorker:
    """The actor: unpacks the work into a folder of its machine, and computes shards of it."""

    def __init__(self, packed: bytes, threads: int) -> None:
        limit_threads(threads)
        self._folder = tempfile.TemporaryDirectory(prefix="transferkit-")
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(self._folder.name, filter="data")
        self._worker = Worker.load(Path(self._folder.name))

    def wait_until_ready(self) -> None:
        """Return when the worker is created."""

    def run(self, number: int) -> ShardResult:
        """Compute a shard."""
        return self._worker.run(number)


class _Workers:
    """Actors with at most one shard each; an actor that dies is replaced.

    An actor gets a shard when it is ready: one for which the cluster has no room must not keep any.
    """

    def __init__(self, ray: Any, new_actor: Callable[[], Any], count: int) -> None:
        self._ray, self._new_actor = ray, new_actor
        # From the call that is awaited to its actor and shard, None for one that is starting.
        self._calls: dict[Any, tuple[Any, int | None]] = {}
        for _ in range(count):
            self._start()

    def run(self, numbers: Sequence[int]) -> Iterator[ShardResult]:
        """Yield the results of shards."""
        left, idle = list(reversed(numbers)), []
        lost = dict.fromkeys([None, *numbers], 0)
        complete = 0
        while complete < len(numbers):
            (call, *_), _ = self._ray.wait(list(self._calls), num_returns=1)
            actor, number = self._calls.pop(call)
            try:
                result = self._ray.get(call)
            except self._ray.exceptions.RayActorError as error:
                lost[number] += 1
                if lost[number] == _MAX_DEATHS:
                    raise _lost(number, error) from error
                if number is not None:
                    left.append(number)
                self._start()
            except ShardError as error:
                # Ray adds the traceback of the worker to the message.
                raise ShardError(str(getattr(error, "cause", error))) from error
            else:
                idle.append(actor)
                if number is not None:
                    complete += 1
                    lost[None] = 0
                    yield result
            while left and idle:
                number = left.pop()
                worker = idle.pop()
                self._calls[worker.run.remote(number)] = worker, number

    def close(self) -> None:
        """End the actors."""
        for actor, _ in self._calls.values():
            self._ray.kill(actor)

    def _start(self) -> None:
        actor = self._new_actor()
        self._calls[actor.wait_until_ready.remote()] = actor, None


def _lost(number: int | None, error: Exception) -> ShardError:
    task = "no shard, at its start" if number is None else f"shard {number}"
    return ShardError(
        f"A shard must be computable. Received: {task}, where workers were lost {_MAX_DEATHS} times ({error}). Look at "
        "the logs of Ray."
    )


def _packed(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in sorted(os.listdir(folder)):
            archive.add(folder / name, arcname=name)
    return buffer.getvalue()
