"""Find wrong labels: real photos and rendered characters, with labels that were changed at random.

    python benchmarks/label_errors.py --data IMAGES [--backbone EfficientNetLite0] [--seeds 3]

IMAGES has train/cats and train/dogs, for example 800 photos. The other set has 800 rendered characters of 40 classes,
in one font and with little noise. 5 percent of the labels are changed. The columns are the fraction of changed labels
among as many most suspicious images as there are changes ("first 40"), the fraction of all changes that are among half
as many more ("within first 60"), the precision and recall of confident label issues, and the seconds from cached
features, without the decoding of images.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import transferkit as tk

CHARACTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabdefghkmnqrt234"
PER_CLASS = 20
NOISE = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--backbone", default="EfficientNetLite0")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print("| images | seed | first 40 | within first 60 | confident | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, (images, labels, names) in {"photos": photos(options.data), "characters": characters()}.items():
        backbone = tk.BackboneFactory.create(options.backbone, input_shape=(160, 160, 3))
        rows = [measure(images, labels, names, backbone, seed) for seed in range(options.seeds)]
        for seed, row in enumerate(rows):
            print(f"| {name} | {seed} | {format_row(row)} |")
        print(f"| {name} | mean | {format_row(np.mean(rows, axis=0))} |")


def format_row(row: np.ndarray) -> str:
    first, within, precision, recall, seconds = row
    return f"{first:.3f} | {within:.3f} | precision {precision:.2f}, recall {recall:.2f} | {seconds:.2f}"


def photos(folder: Path) -> tuple[list[str], np.ndarray, list[str]]:
    names = ["cats", "dogs"]
    files = [sorted(map(str, (folder / "train" / name).glob("*.jpg"))) for name in names]
    return [*files[0], *files[1]], np.repeat([0, 1], [len(part) for part in files]), names


def characters() -> tuple[np.ndarray, np.ndarray, list[str]]:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(CHARACTERS)), PER_CLASS)
    return np.stack([draw(CHARACTERS[label], generator) for label in labels]), labels, list(CHARACTERS)


def draw(character: str, generator: np.random.Generator, size: int = 160) -> np.ndarray:
    """Return a character near the center in random colors, with little noise."""
    path = Path(matplotlib.__file__).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    background = generator.integers(0, 90, 3)
    image = Image.new("RGB", (size, size), tuple(background.tolist()))
    font = ImageFont.truetype(str(path), int(size * generator.uniform(0.6, 0.8)))
    place = size * generator.uniform(0.45, 0.55), size * generator.uniform(0.45, 0.55)
    color = tuple((background + generator.integers(90, 166, 3)).tolist())
    ImageDraw.Draw(image).text(place, character, font=font, fill=color, anchor="mm")
    noisy = np.asarray(image, float) + generator.normal(0, 10, (size, size, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def measure(images, labels: np.ndarray, names: list[str], backbone, seed: int) -> np.ndarray:
    """Return the columns of a row of the table."""
    generator = np.random.default_rng(seed)
    changed = generator.choice(len(labels), round(NOISE * len(labels)), replace=False)
    noisy = labels.copy()
    noisy[changed] = (labels[changed] + generator.integers(1, len(names), len(changed))) % len(names)
    source = (list(images), [names[label] for label in noisy]) if isinstance(images, list) else (images, noisy)
    data = tk.DatasetBuilder(source, image_size=160, class_names=names, progress=False).build()
    backbone.features(data.train)
    started = time.perf_counter()
    inspection = tk.inspect(data, backbone, image_quality=False)
    seconds = time.perf_counter() - started
    keys = [key.path if key.path is not None else key.index for key in inspection.images.keys]
    wrong = {images[index] if isinstance(images, list) else index for index in changed}
    is_wrong = np.array([key in wrong for key in keys])
    order = np.argsort(-inspection.label_scores.suspicion, kind="stable")
    count = len(changed)
    confident = inspection.label_scores.is_confident
    return np.array(
        [
            is_wrong[order[:count]].mean(),
            is_wrong[order[: count * 3 // 2]].sum() / count,
            is_wrong[confident].mean() if confident.any() else np.nan,
            is_wrong[confident].sum() / count,
            seconds,
        ]
    )


if __name__ == "__main__":
    main()
