"""Generate any number of different images from a few: random crops under new names.

    python benchmarks/image_copies.py --data IMAGES --output OUT --count 10000 [--size 128]

Links to the same files are not suitable for measurements: files with known contents are not processed again.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

SPLITS = ("train", "validation")
# A crop keeps at least this fraction of each side: the object stays visible, and the perceptual hash changes.
_MIN_CROP = 0.7


def main() -> None:
    """Generate the images that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder with train/ and validation/")
    parser.add_argument("--output", required=True, type=Path, help="folder for the generated images")
    parser.add_argument("--count", type=int, default=10_000, help="number of images")
    parser.add_argument("--size", type=int, help="longer side in pixels (default: that of each crop)")
    options = parser.parse_args()
    started = time.perf_counter()
    generate_crops(options.data, options.output, options.count, size=options.size)
    print(f"{options.count:,} images in {time.perf_counter() - started:.1f} s")


def generate_crops(images: Path, folder: Path, count: int, *, size: int | None = None, seed: int = 0) -> Path:
    """Write `count` JPEG files to `folder`, with the splits, classes and proportions of `images`.

    The same arguments return the same files. No two files have the same contents.

    Args:
        images: Folder with train/ and validation/, each with one subfolder per class.
        folder: Output folder, created with the same subfolders.
        count: int >= 1. Total number of files.
        size: int or None. Longer side of the files in pixels; None keeps the size of the crops. Defaults to None.
        seed: int. Seed of the order of the sources. Defaults to 0.

    Returns:
        `folder`.
    """
    sources = sorted(path for split in SPLITS for path in Path(images).glob(f"{split}/*/*.jp*g"))
    if not sources:
        raise SystemExit(
            f"`images` must contain train/ and validation/ with subfolders of JPEG files. Received: {images}."
        )
    # Shuffling mixes splits and classes, so that any count has their proportions.
    random.Random(seed).shuffle(sources)
    for path in {path.parent.relative_to(images) for path in sources}:
        (folder / path).mkdir(parents=True, exist_ok=True)
    # Pillow releases the GIL while it decodes, resizes and encodes.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start, path in enumerate(sources):
            indices = range(start, count, len(sources))
            pool.submit(_write_crops, path, folder / path.parent.relative_to(images), indices, size)
    return folder


def _write_crops(source: Path, folder: Path, indices: range, size: int | None) -> None:
    """Write one crop of an image for each index; decode the image once."""
    if not indices:
        return
    with Image.open(source) as opened:
        if size is not None:
            opened.draft("RGB", (2 * size, 2 * size))
        image = opened.convert("RGB")
    for index in indices:
        crop = image.crop(_random_box(image.size, random.Random(f"{source.name} {index}")))
        if size is not None:
            crop.thumbnail((size, size))
        # The comment makes the contents of all files different, even for equal pixels.
        crop.save(folder / f"{source.stem}-{index:06}.jpg", quality=85, comment=str(index).encode())


def _random_box(size: tuple[int, int], generator: random.Random) -> tuple[int, int, int, int]:
    sides = [max(1, round(side * generator.uniform(_MIN_CROP, 1))) for side in size]
    left, top = (generator.randint(0, full - side) for full, side in zip(size, sides))
    return left, top, left + sides[0], top + sides[1]


if __name__ == "__main__":
    main()
