"""Seconds of a shard by its number of images: a line whose slope is the time of an image, and its start the overhead.

    python benchmarks/shard_seconds.py --data IMAGES [--image-size 160] [--sizes 64 256 1024 4096] [--rounds 3]

IMAGES has .jpg files at any depth. One process with all cores computes shards as the worker of a cluster does; the
seconds are `ShardResult.seconds`. Each round measures all sizes, so that a change in the speed of the machine affects
all of them; the fastest shard of each size counts. `benchmarks/cluster_simulation.py` takes both figures as options.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import transferkit as tk
from transferkit.images import ImageSpec
from transferkit.sharding.image_source import ImageSource
from transferkit.sharding.job import Job
from transferkit.sharding.manifest import Manifest
from transferkit.sharding.tasks import FeatureTask
from transferkit.sharding.worker import Worker


def main() -> None:
    """Print the seconds of each size and the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--backbone", default="EfficientNetLite0")
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 256, 1024, 4096])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    files = sorted(map(str, options.data.rglob("*.jpg")))
    task = feature_task(options.backbone, options.image_size)
    seconds: dict[int, list[float]] = {size: [] for size in options.sizes}
    with tempfile.TemporaryDirectory() as out:
        workers = {size: worker(task, files, size, f"{out}/{size}") for size in options.sizes}
        workers[min(options.sizes)].run(0)
        for _ in range(options.rounds):
            for size, one in workers.items():
                # As many shards as the largest size has images would take too long; four show the spread.
                count = max(1, min(4, max(options.sizes) // size))
                seconds[size] += [one.run(0).seconds for _ in range(count)]
        written = {size: written_bytes(Path(out, str(size))) for size in options.sizes}
    print(f"engine {workers[min(options.sizes)].engine}, {read_bytes(files) / 1000:.1f} KB per image read")
    print(
        "| images | best seconds | median | ms per image | bytes written per image |\n| --- | --- | --- | --- | --- |"
    )
    for size, values in seconds.items():
        best, median = min(values), float(np.median(values))
        print(f"| {size:,} | {best:.3f} | {median:.3f} | {best / size * 1000:.2f} | {written[size] / size:,.0f} |")
    slope, start = fitted_line({size: min(values) for size, values in seconds.items()})
    print(f"{slope * 1000:.3f} ms per image and {start:.3f} s per shard, {1 / slope:.0f} images per second")
    print(f"writing and reading one file on this disk: {file_seconds():.4f} s")


def feature_task(name: str, image_size: int) -> FeatureTask:
    """Return the task of `extract_features`."""
    backbone = tk.BackboneFactory.create(name, input_shape=(image_size, image_size, 3))
    return FeatureTask(backbone.feature_extractor(), ImageSpec((image_size, image_size)), "float32")


def worker(task: FeatureTask, files: list[str], size: int, out: str) -> Worker:
    """Return a worker whose shard 0 has `size` images, which repeat where there are fewer."""
    paths = tuple(files[number % len(files)] for number in range(size))
    source = ImageSource(Manifest(paths), size)
    job = Job(task.kind, source.fingerprint(), task.fingerprint(), size, size, 1, task.columns)
    return Worker(job, source, task, out)


def fitted_line(seconds: dict[int, float]) -> tuple[float, float]:
    """Return seconds per image and per shard; relative errors count, so that small shards do too.

    >>> slope, start = fitted_line({10: 1.5, 30: 3.5, 100: 10.5})
    >>> round(slope, 6), round(start, 6)
    (0.1, 0.5)
    """
    sizes, values = np.array(list(seconds), float), np.array(list(seconds.values()))
    slope, start = np.polyfit(sizes, values, 1, w=1 / values)
    return float(slope), float(start)


def read_bytes(files: list[str]) -> float:
    """Return the mean number of bytes of an image."""
    return float(np.mean([os.path.getsize(path) for path in files]))


def written_bytes(folder: Path) -> int:
    """Return the bytes of the shards in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.parquet"))


def file_seconds() -> float:
    """Return the seconds for writing and reading a file of 5 MB, best of five."""
    contents, times = bytes(5_000_000), []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(5):
            started = time.perf_counter()
            Path(folder, "file").write_bytes(contents)
            Path(folder, "file").read_bytes()
            times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
