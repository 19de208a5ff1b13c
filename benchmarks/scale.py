"""Whether memory stays flat when the number of files grows: links to the same photographs, 1,000 to 100,000 of them.

    python benchmarks/scale.py --data PHOTOS

For each number of files, a process of its own builds the data set twice (the second time from what is remembered) and
goes through one epoch; a line gives the seconds, the images a second and the growth of the memory in each step.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    """Measure each number of files in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="a folder of photographs")
    parser.add_argument("--counts", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--links", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.links:
        measure(options.links)
        return
    print("   files  first build  second build    epoch  images/s  memory of builds  of the epoch", flush=True)
    for count in options.counts:
        with tempfile.TemporaryDirectory() as folder:
            links = link(Path(options.data), Path(folder) / "links", count)
            environment = {**os.environ, "TRANSFERKIT_HOME": str(Path(folder) / "home")}
            command = [sys.executable, __file__, "--data", options.data, "--links", str(links)]
            subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=True)


def link(photos: Path, folder: Path, count: int) -> Path:
    """Make `count` links to the photographs, in two folders of classes."""
    paths = sorted(photos.rglob("*.jpg"))
    for name in ("one", "other"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        (folder / ("one", "other")[number % 2] / f"{number}.jpg").symlink_to(paths[number % len(paths)].resolve())
    return folder


def measure(links: str) -> None:
    """Build twice, go through one epoch, and print a line."""
    from transferkit.data import DatasetBuilder, load_pixels

    # What TensorFlow itself takes is not what grows.
    load_pixels(next(Path(links).rglob("*.jpg")), DatasetBuilder(links).pixels)
    start, times = resident(), []
    for _ in range(2):
        began = time.perf_counter()
        data = DatasetBuilder(links, progress=False).build()
        times.append(time.perf_counter() - began)
    built, began, count = resident(), time.perf_counter(), 0
    for images, _ in data.train:
        count += len(images)
    epoch = time.perf_counter() - began
    print(
        f"{count:8,} {times[0]:10.2f} s {times[1]:11.2f} s {epoch:6.1f} s {count / epoch:9.0f} "
        f"{built - start:14.0f} MB {resident() - built:10.0f} MB",
        flush=True,
    )


def resident() -> float:
    """Return the memory of this process in megabytes, the highest so far."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
