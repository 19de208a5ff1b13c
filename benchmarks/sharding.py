"""Extract features in shards: overhead against a plain loop, speed of local processes, and memory of a worker.

    python benchmarks/sharding.py --data IMAGES [--images 12000] [--image-size 160]

IMAGES has .jpg files at any depth; links to them make up the number of images. Every figure is of a new process, after
a first run that creates the engine. The plain loop takes the images from files to features as one call of
`compute_features`. Processes are compared with one process on one core, whose engine has one thread. Memory is the peak
of a process with one sixth of the images and with all.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--step", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(measure(*options.step, options.image_size)))
        return
    with tempfile.TemporaryDirectory() as name:
        full, part = Path(name, "full"), Path(name, "part")
        link(options.data, full, options.images)
        link(options.data, part, options.images // 6)
        run("shards", part, options)
        plain, shards = (run(kind, full, options) for kind in ("plain", "shards"))
        small = run("shards", part, options)
        one, two = run("one core", full, options), run("two processes", full, options)
    print(
        f"plain loop {plain['seconds']:.1f} s, shards {shards['seconds']:.1f} s: "
        f"overhead {shards['seconds'] / plain['seconds'] - 1:.1%}"
    )
    print(
        f"one process on one core {one['seconds']:.1f} s, two processes {two['seconds']:.1f} s: "
        f"{one['seconds'] / two['seconds']:.2f} times"
    )
    print(
        f"peak memory {small['mb']:.0f} MB with {options.images // 6} images, {shards['mb']:.0f} MB with all: "
        f"{shards['mb'] / small['mb'] - 1:+.1%}"
    )


def link(source: Path, folder: Path, count: int) -> None:
    """Fill a folder with links to the images of another."""
    folder.mkdir()
    files = sorted(source.rglob("*.jpg"))
    for number in range(count):
        (folder / f"{number:06d}.jpg").symlink_to(files[number % len(files)].resolve())


def run(kind: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Return the figures of a new process."""
    command = [sys.executable, __file__, "--data", str(options.data), "--image-size", str(options.image_size)]
    prefix = ["taskset", "-c", "0"] if kind == "one core" else []
    output = subprocess.run([*prefix, *command, "--step", kind, str(folder)], capture_output=True, check=True).stdout
    return json.loads(output.splitlines()[-1])


def measure(kind: str, folder: str, image_size: int) -> dict[str, float]:
    """Return the seconds, without the creation of the engine, and the peak memory of this process."""
    import transferkit as tk

    backbone = tk.BackboneFactory.create("EfficientNetLite0", input_shape=(image_size, image_size, 3))
    files = sorted(map(str, Path(folder).iterdir()))
    if kind == "plain":
        seconds = plain_loop(backbone, files)
    else:
        engine = 2 if kind == "two processes" else None
        # Without the time until the first shard can begin.
        seconds = timed(backbone, files, engine) - timed(backbone, files[:2], engine)
    return {"seconds": seconds, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def plain_loop(backbone, files: list[str]) -> float:
    """Return the seconds from files to features."""
    import numpy as np

    from transferkit.data.examples import Split
    from transferkit.engines import compile_engine
    from transferkit.features.extraction import compute_features
    from transferkit.images import ImageSpec

    model = backbone.feature_extractor()
    engine = compile_engine(model, count=len(files))
    split = Split("all", np.zeros(len(files), np.int32), ImageSpec(backbone.input_shape[:2]), paths=tuple(files))
    started = time.perf_counter()
    compute_features(split, model, engine)
    return time.perf_counter() - started


def timed(backbone, files: list[str], engine: int | None) -> float:
    """Return the seconds of a job."""
    import transferkit as tk

    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        tk.extract_features(files, backbone, out=out, engine=engine, progress=False)
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
