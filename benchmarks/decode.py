"""How long an image takes from its file to pixels, and what decoding large JPEGs at a reduced scale wins.

    python benchmarks/decode.py --data PHOTOS

Prints milliseconds an image, best of three, for the photographs as they are; and for a photograph of 12 megapixels,
upright and as a phone stores it that is held otherwise.
"""

from __future__ import annotations

import argparse
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
from transferkit.images.memory_cache import PIXEL_MEMORY

LARGE = (4000, 3000)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="a folder of photographs")
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--count", type=int, default=1000, help="largest number of photographs")
    options = parser.parse_args()
    paths = sorted(map(str, Path(options.data).rglob("*.jpg")))[: options.count]
    spec = ImageSpec((options.image_size, options.image_size))
    exact = ImageSpec(spec.image_size, exact=True)
    show("photographs, batches in threads", len(paths), lambda: stream(paths, spec))
    show("photographs, one after another", len(paths), lambda: [load_image(path, spec) for path in paths])
    show("photographs, Pillow alone", len(paths), lambda: [by_pillow(path, spec) for path in paths])
    show("digests of the contents", len(paths), lambda: content_hashes(paths))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRANSFERKIT_HOME"] = folder
        store = open_disk_cache(paths, content_hashes(paths), spec, progress=False)
        show("photographs, from the store on disk", len(paths), lambda: [store.read(n) for n in range(len(paths))])
        for name, orientation in (("12 megapixels", 1), ("12 megapixels, turned", 6)):
            large = enlarged(paths[0], Path(folder), orientation)
            show(f"{name}, reduced scale", len(large), lambda large=large: stream(large, spec))
            show(f"{name}, exact", len(large), lambda large=large: stream(large, exact))
        apart = np.abs(load_image(large[0], spec).astype(int) - load_image(large[0], exact)).mean()
    print(f"mean difference between reduced and exact: {apart:.2f} grey levels")


def show(what: str, count: int, run: Callable[[], object]) -> None:
    """Print the best of three runs, in milliseconds an image."""
    run()
    times = []
    for _ in range(3):
        PIXEL_MEMORY.clear()
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    print(f"{what:40} {1000 * min(times) / count:8.3f} ms an image", flush=True)


def stream(paths: list[str], spec: ImageSpec) -> None:
    """Decode all files as training does, but for what is in memory."""
    for _ in image_batches(paths, spec, batch_size=32):
        pass


def by_pillow(path: str, spec: ImageSpec) -> np.ndarray:
    """Decode and resize as most scripts do."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize(spec.image_size[::-1], Image.Resampling.BILINEAR))


def enlarged(path: str, folder: Path, orientation: int) -> list[str]:
    """Return eight files of 12 megapixels."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(path) as image:
        large = image.resize(LARGE, Image.Resampling.BICUBIC)
    names = [str(folder / f"{orientation}-{number}.jpg") for number in range(8)]
    for name in names:
        large.save(name, quality=90, exif=exif)
    return names


if __name__ == "__main__":
    main()
