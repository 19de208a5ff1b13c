"""Measure loading images from files, and the time that decoding large JPEG files at a reduced scale saves.

    python benchmarks/decode.py --data IMAGES [--json out.json]

Prints milliseconds per image, best of three: for the given images, and for an image of 12 megapixels, upright and with
an EXIF orientation of 90 degrees as phones store it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

from transferkit.images import ImageSpec, content_hashes, load_image
from transferkit.images.disk_cache import open_disk_cache
from transferkit.images.loading import image_batches

LARGE = (4000, 3000)


def main() -> None:
    """Measure all variants and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder of images, at any depth")
    parser.add_argument("--image-size", type=int, default=160, help="side in pixels")
    parser.add_argument("--count", type=int, default=1000, help="maximum number of images")
    parser.add_argument("--json", help="output file for the results")
    options = parser.parse_args()
    paths = sorted(map(str, Path(options.data).rglob("*.jpg")))[: options.count]
    spec = ImageSpec((options.image_size, options.image_size))
    results: dict[str, float] = {}

    def measure(name: str, count: int, run: Callable[[], object]) -> None:
        results[name] = best_milliseconds(count, run)
        print(f"{name:40} {results[name]:8.3f} ms per image", flush=True)

    measure("batches in threads", len(paths), lambda: load_batches(paths, spec))
    measure("one by one", len(paths), lambda: [load_image(path, spec) for path in paths])
    measure("one by one, Pillow only", len(paths), lambda: [load_with_pillow(path, spec) for path in paths])
    measure("content hashes", len(paths), lambda: content_hashes(paths))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRANSFERKIT_HOME"] = folder
        cache = open_disk_cache(paths, content_hashes(paths), spec, progress=False)
        measure("from the disk cache", len(paths), lambda: [cache.read(index) for index in range(len(paths))])
        full = ImageSpec(spec.image_size, full_decode=True)
        for name, orientation in (("12 megapixels", 1), ("12 megapixels, rotated", 6)):
            large = write_large(paths[0], Path(folder), orientation)
            measure(f"{name}, reduced scale", len(large), lambda large=large: load_batches(large, spec))
            measure(f"{name}, full scale", len(large), lambda large=large: load_batches(large, full))
        difference = np.abs(load_image(large[0], spec).astype(int) - load_image(large[0], full)).mean()
    results["mean difference"] = float(difference)
    print(f"Mean difference between reduced and full scale: {difference:.2f} on the pixel scale [0, 255]")
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2))


def best_milliseconds(count: int, run: Callable[[], object]) -> float:
    """Return milliseconds per image of the best of three runs, after a warm-up run."""
    run()
    times = []
    for _ in range(3):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return 1000 * min(times) / count


def load_batches(paths: list[str], spec: ImageSpec) -> None:
    """Load all files in batches, as training does."""
    for _ in image_batches(paths, spec, batch_size=32):
        pass


def load_with_pillow(path: str, spec: ImageSpec) -> np.ndarray:
    """Decode and resize with Pillow, as most scripts do."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize(spec.image_size[::-1], Image.Resampling.BILINEAR))


def write_large(path: str, folder: Path, orientation: int) -> list[str]:
    """Write eight JPEG files of 12 megapixels and return their paths."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(path) as image:
        large = image.resize(LARGE, Image.Resampling.BICUBIC)
    paths = [str(folder / f"{orientation}-{index}.jpg") for index in range(8)]
    for target in paths:
        large.save(target, quality=90, exif=exif)
    return paths


if __name__ == "__main__":
    main()
