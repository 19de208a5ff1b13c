"""Seconds that Ray adds to a job: until the first shard can begin, and of the driver for each shard.

    python benchmarks/ray_overhead.py [--workers 2] [--shards 2000]

A new cluster on this machine. The start is that of `tk.extract_features` with two small images, from the call to its
end, in a process that has loaded the model; a second call on the same cluster has no cluster to start. The driver's
time is that of workers that return at once.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The node is bound to the loopback, and Ray reports no statistics of its use.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import ray
from PIL import Image

import transferkit as tk
from transferkit.sharding.ray_engine import _Workers
from transferkit.sharding.worker import ShardResult


def main() -> None:
    """Print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shards", type=int, default=2000)
    options = parser.parse_args()
    backbone = tk.BackboneFactory.create("EfficientNetLite0", input_shape=(160, 160, 3))
    engine = tk.RayEngine("local", num_workers=1)
    with tempfile.TemporaryDirectory() as folder:
        paths = small_images(Path(folder))
        tk.extract_features(paths, backbone, out=f"{folder}/here")
        for name in ("new cluster", "cluster that runs"):
            started = time.perf_counter()
            tk.extract_features(paths, backbone, out=f"{folder}/{name}", engine=engine)
            print(f"two images, {name}: {time.perf_counter() - started:.1f} s")
    print(f"driver: {driver_seconds(options.workers, options.shards) * 1000:.2f} ms per shard")
    ray.shutdown()


def small_images(folder: Path) -> list[str]:
    """Return the paths of two images."""
    paths = [str(folder / f"{number}.png") for number in range(2)]
    for path in paths:
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(path)
    return paths


class _Immediate:
    """An actor without work."""

    def __init__(self, _: object) -> None:
        """Do nothing."""

    def wait_until_ready(self) -> None:
        """Return."""

    def run(self, number: int) -> ShardResult:
        """Return at once."""
        return ShardResult(number, 0, 0, 0.0, "")


def driver_seconds(count: int, shards: int) -> float:
    """Return the seconds per shard, without the start of the actors."""
    workers = _Workers(ray, ray.remote(num_cpus=0.01)(_Immediate), ray.put(b""), count)
    results = workers.run(range(shards + 1))
    next(results)
    started = time.perf_counter()
    found = sum(1 for _ in results)
    seconds = (time.perf_counter() - started) / found
    workers.close()
    return seconds


if __name__ == "__main__":
    main()
