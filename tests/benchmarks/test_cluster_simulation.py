"""The simulated cluster, with times worked out by hand."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from cluster_simulation import best_size, percentile  # noqa: E402
from simulated_cluster import Cluster, Events, Outcome, Simulation  # noqa: E402

# An image takes a second, everything else no time.
PLAIN = {"start": 0.0, "image": 1.0, "shard": 0.0, "driver": 0.0, "replacement": None}


def run(images: int, size: int, events: Events | None = None, **changes: float | None) -> Outcome:
    return Simulation(Cluster(**{**PLAIN, **changes}), images, size, events or Events()).run()  # type: ignore[arg-type]


def lives(*seconds: float) -> Events:
    return Events(lives=itertools.chain(seconds, itertools.repeat(math.inf)))


@pytest.mark.parametrize(("images", "size", "workers"), [(1000, 10, 1), (1000, 10, 7), (1000, 10, 100), (60, 10, 4)])
def test_equal_workers_take_the_time_of_the_longest_queue(images: int, size: int, workers: int) -> None:
    outcome = run(images, size, workers=workers, start=20.0, shard=0.5)
    assert outcome.seconds == pytest.approx(20 + math.ceil(images / size / workers) * (size + 0.5))
    assert (outcome.lost_shards, outcome.lost_images, outcome.files) == (0, 0.0, images // size)


def test_last_shard_has_the_remaining_images() -> None:
    # 0 to 10 and 10 to 20 seconds, then five images.
    assert run(25, 10, workers=1).seconds == 25


def test_idle_time_is_that_of_workers_without_a_shard() -> None:
    # Three shards of 10 seconds on two workers: one waits from 10 to 20.
    assert run(30, 10, workers=2).idle == 10
    assert run(30, 10, workers=3).idle == 0


def test_driver_gives_one_shard_after_another() -> None:
    # The first shards begin after 1, 2 and 3 seconds.
    assert run(30, 10, workers=3, driver=1.0).seconds == 13


def test_worker_that_is_lost_loses_its_shard_alone() -> None:
    # Worker 0 is lost after 14 seconds, with four images of its second shard; worker 1 does the rest alone:
    # its second shard until 20, the lost one until 30.
    outcome = run(40, 10, lives(14.0), workers=2)
    assert (outcome.seconds, outcome.lost_shards, outcome.lost_images) == (30, 1, 4)


def test_lost_shard_goes_to_a_worker_that_waits() -> None:
    # Three shards: worker 0 computes the third from 10 and is lost at 14, when worker 1 has waited 4 seconds.
    outcome = run(30, 10, lives(14.0), workers=2)
    assert (outcome.seconds, outcome.idle) == (24, 4)


def test_replacement_starts_after_its_delay() -> None:
    # Lost at 24, the next machine is there at 34, has started at 39, and computes the shard until 49.
    outcome = run(20, 10, lives(24.0), workers=1, start=5.0, replacement=10.0)
    assert (outcome.seconds, outcome.lost_shards, outcome.lost_images) == (49, 1, 9)


def test_worker_that_is_lost_while_it_starts_loses_nothing() -> None:
    outcome = run(20, 10, lives(3.0), workers=1, start=5.0, replacement=10.0)
    assert (outcome.seconds, outcome.lost_shards) == (3 + 10 + 5 + 20, 0)


def test_job_without_workers_does_not_complete() -> None:
    assert run(20, 10, lives(14.0), workers=1).seconds == math.inf


def test_shard_that_loses_five_workers_stops_the_job() -> None:
    outcome = run(20, 10, Events(lives=itertools.repeat(5.0)), workers=1, replacement=0.0)
    assert (outcome.seconds, outcome.lost_shards) == (math.inf, 5)


def test_slow_worker_computes_fewer_shards() -> None:
    # The slow one takes 30 seconds for one shard, in which the other computes the remaining three.
    events = Events(speeds=iter([3.0, 1.0]))
    assert run(40, 10, events, workers=2).seconds == 30


def test_slow_shard_takes_longer() -> None:
    events = Events(delays=iter([1.0, 2.5]))
    assert run(20, 10, events, workers=1).seconds == 35


def test_best_size_is_that_of_the_least_percentile_with_fewest_files() -> None:
    def jobs(*seconds: float) -> list[Outcome]:
        return [Outcome(value, 0, 0.0, 0.0, 1) for value in seconds]

    assert percentile(jobs(*range(1, 21))) == 20
    assert best_size({64: jobs(1, 9), 128: jobs(5, 5), 256: jobs(5, 4), 512: jobs(1, math.inf)}) == 256


def test_program_prints_the_same_table_for_the_same_seeds() -> None:
    command = [sys.executable, str(BENCHMARKS / "cluster_simulation.py"), "--images", "20000", "--workers", "10"]
    command += ["--sizes", "256", "1024", "--seeds", "3", "--failures", "0.01"]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first == second
    rows = [line for line in first.splitlines() if line.startswith(("| 256 | 79 |", "| 1,024 | 20 |"))]
    assert len(rows) == 2 and "The best size is " in first and "The default, 1,024, takes " in first
