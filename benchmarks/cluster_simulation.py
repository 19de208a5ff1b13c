"""Simulate jobs on a cluster: which number of images per shard completes them first?

    python benchmarks/cluster_simulation.py [--images 1000000] [--workers 1 10 100] [--seeds 20]

`benchmarks/simulated_cluster.py` is the simulation. The time of an image and of a shard are measured with
`benchmarks/shard_seconds.py`, that of a start and of the driver with Ray; slow workers, slow shards, failures and the
latency of the storage are assumptions. The size with the least 95th percentile of the time is the best.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import numpy as np
from simulated_cluster import Cluster, Events, Outcome, Simulation

SIZES = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
DEFAULT_SIZE = 1024


def main() -> None:
    """Print a table for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 10, 100])
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="images per shard")
    parser.add_argument("--seeds", type=int, default=20, help="simulated jobs per size")
    parser.add_argument("--start", type=float, default=20.0, help="seconds until a worker gets its first shard")
    parser.add_argument("--image", type=float, default=0.0033, help="seconds of an image")
    parser.add_argument("--shard", type=float, default=0.1, help="seconds of a shard in addition to its images")
    parser.add_argument("--driver", type=float, default=0.001, help="seconds of the driver per shard")
    parser.add_argument("--slow", type=float, default=0.02, help="fraction of slow workers")
    parser.add_argument("--slowness", type=float, default=3.0, help="how many times longer a slow worker takes")
    parser.add_argument("--spread", type=float, default=0.3, help="sigma of the log-normal time of a shard")
    parser.add_argument("--failures", type=float, default=24.0, help="mean hours until a worker is lost; 0 is never")
    parser.add_argument(
        "--replacement", type=float, default=120.0, help="seconds until it is replaced; below 0 is never"
    )
    options = parser.parse_args()
    for workers in options.workers:
        cluster = Cluster(
            workers,
            options.start,
            options.image,
            options.shard,
            options.driver,
            options.replacement if options.replacement >= 0 else None,
        )
        print(f"\n{options.images:,} images, {workers} workers\n")
        print_table(compare(cluster, options), options.images, workers)


def compare(cluster: Cluster, options: argparse.Namespace) -> dict[int, list[Outcome]]:
    """Return the simulated jobs of each size; each seed has the same failures and slow workers for all sizes."""
    return {
        size: [
            Simulation(cluster, options.images, size, random_events(seed, options)).run()
            for seed in range(options.seeds)
        ]
        for size in options.sizes
    }


def random_events(seed: int, options: argparse.Namespace) -> Events:
    """Return the events of a seed. The mean of the delays is 1, so that the spread alone does not add work."""
    lives, speeds, delays = (np.random.default_rng([seed, stream]) for stream in range(3))
    mean = options.failures * 3600
    return Events(
        (lives.exponential(mean) if mean else math.inf for _ in forever()),
        (options.slowness if speeds.random() < options.slow else 1.0 for _ in forever()),
        (delays.lognormal(-(options.spread**2) / 2, options.spread) for _ in forever()),
    )


def forever() -> Iterator[None]:
    """Yield None without end."""
    while True:
        yield None


def print_table(outcomes: dict[int, list[Outcome]], images: int, workers: int) -> None:
    """Print a row per size, the best size, and the default's difference to it."""
    print("| images per shard | files | mean s | 95 % s | images computed twice | idle | failed |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for size, jobs in outcomes.items():
        complete = [job for job in jobs if job.seconds < math.inf]
        mean = np.mean([job.seconds for job in complete]) if complete else math.nan
        lost = np.mean([job.lost_images for job in jobs]) / images
        idle = (
            np.mean([job.idle / (min(workers, job.files) * job.seconds) for job in complete]) if complete else math.nan
        )
        print(
            f"| {size:,} | {jobs[0].files:,} | {mean:,.1f} | {percentile(jobs):,.1f} | {lost:.3%} | {idle:.1%} | "
            f"{len(jobs) - len(complete)} |"
        )
    best = best_size(outcomes)
    print(f"\nThe best size is {best:,}.")
    if DEFAULT_SIZE in outcomes and percentile(outcomes[best]) < math.inf:
        difference = percentile(outcomes[DEFAULT_SIZE]) / percentile(outcomes[best]) - 1
        print(f"The default, {DEFAULT_SIZE:,}, takes {difference:.1%} longer.")


def percentile(jobs: list[Outcome]) -> float:
    """Return the 95th percentile of the time: the time of a job, infinite where it did not complete."""
    return float(np.quantile([job.seconds for job in jobs], 0.95, method="higher"))


def best_size(outcomes: dict[int, list[Outcome]]) -> int:
    """Return the size with the least 95th percentile, the larger one of equals: it has fewer files."""
    return min(outcomes, key=lambda size: (percentile(outcomes[size]), -size))


if __name__ == "__main__":
    main()
