"""Archives on a Ray cluster of this machine: `python -m tests.sharding.ray_archives FOLDER` prints a JSON line."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import keras

import transferkit as tk
from tests.sharding.archive_files import png, write_tar


def main() -> None:
    """Extract the features in this process and with two workers, then those of a damaged archive."""
    folder = Path(sys.argv[1])
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3))
    backbone = tk.BackboneFactory.create(keras.Model(images, keras.layers.Conv2D(8, 3)(images)), preprocessing="tf")
    archives = [write(folder / f"{number}.tar", number) for number in range(4)]
    engine = tk.RayEngine("local", num_workers=2)
    tk.extract_features(archives, backbone, out=folder / "alone", progress=False)
    tk.extract_features(archives, backbone, out=folder / "workers", engine=engine, progress=False)
    damaged = folder / "damaged.tar"
    damaged.write_bytes(Path(archives[0]).read_bytes()[:-15_000])
    try:
        tk.extract_features([*archives, str(damaged)], backbone, out=folder / "error", engine=engine, progress=False)
    except tk.ShardError as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
    # Ending the cluster in order would take longer than the job.
    os._exit(0)


def write(path: Path, number: int) -> str:
    """Write an archive of ten images."""
    return str(write_tar(path, [(f"{'ab'[row % 2]}/{row}.png", png(10 * number + row)) for row in range(10)]))


if __name__ == "__main__":
    main()
