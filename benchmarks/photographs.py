"""Any number of different photographs, made out of a few: random crops of them, under names of their own.

    python benchmarks/photographs.py --data PHOTOS --folder OUT --count 10000 [--size 128]

Links to the same files would not do for measuring: contents that were seen before are not run again.
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
# A crop keeps at least this share of each side: still a cat, but with another perceptual hash than its neighbours.
_SMALLEST = 0.7


def main() -> None:
    """Make the photographs that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="a folder with train/ and validation/")
    parser.add_argument("--folder", required=True, type=Path, help="where they go")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--size", type=int, help="longer side in pixels; by default that of each crop")
    options = parser.parse_args()
    started = time.perf_counter()
    repeated(options.data, options.folder, options.count, size=options.size)
    print(f"{options.count:,} photographs in {time.perf_counter() - started:.1f} s")


def repeated(photos: Path, folder: Path, count: int, *, size: int | None = None, seed: int = 0) -> Path:
    """Make `count` JPEG files in `folder`, in the splits and classes of `photos` and in their proportions.

    The same arguments give the same files, and no two of the files have the same contents.

    Args:
        photos: a folder with train/ and validation/, each with a folder a class.
        folder: is made; holds the same folders.
        count: number of files in all.
        size: longer side of the files in pixels, for many small ones; None leaves the crops as large as they are.
        seed: of the crops.

    Returns:
        `folder`.
    """
    sources = sorted(path for split in SPLITS for path in Path(photos).glob(f"{split}/*/*.jp*g"))
    if not sources:
        raise SystemExit(f"{photos} must hold train/ and validation/ with folders of JPEG files. Found none.")
    # Sources come in an order that mixes splits and classes, so that any number has their proportions.
    random.Random(seed).shuffle(sources)
    for path in {path.parent.relative_to(photos) for path in sources}:
        (folder / path).mkdir(parents=True, exist_ok=True)
    # Pillow lets other threads run while it decodes, scales and encodes.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start, path in enumerate(sources):
            pool.submit(_crops, path, folder / path.parent.relative_to(photos), range(start, count, len(sources)), size)
    return folder


def _crops(source: Path, folder: Path, numbers: range, size: int | None) -> None:
    """Write one crop of a photograph for each number; the photograph is decoded once."""
    if not numbers:
        return
    with Image.open(source) as opened:
        if size is not None:
            opened.draft("RGB", (2 * size, 2 * size))
        image = opened.convert("RGB")
    for number in numbers:
        crop = image.crop(_box(image.size, random.Random(f"{source.name} {number}")))
        if size is not None:
            crop.thumbnail((size, size))
        # The comment makes sure that no two files are alike, whatever is in the picture.
        crop.save(folder / f"{source.stem}-{number:06}.jpg", quality=85, comment=str(number).encode())


def _box(size: tuple[int, int], chance: random.Random) -> tuple[int, int, int, int]:
    sides = [max(1, round(side * chance.uniform(_SMALLEST, 1))) for side in size]
    left, top = (chance.randint(0, whole - side) for whole, side in zip(size, sides))
    return left, top, left + sides[0], top + sides[1]


if __name__ == "__main__":
    main()
