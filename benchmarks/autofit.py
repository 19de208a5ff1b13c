"""Measure `autofit`: time against its limit, accuracy, and whether its interval contains that of photos it never saw.

    python benchmarks/autofit.py --data IMAGES --time-limit 5m
    python benchmarks/autofit.py --characters --time-limit 5m --image-size 96
    python benchmarks/autofit.py --data IMAGES --seeds 10 --photos 300 --max-trials 2

IMAGES has train/ and validation/, each with one folder per class. The first command searches on train/; validation/ are
the test images. "By hand" is each backbone with a default head on all training images. The second command does the
same with 1,200 training and 400 test images of rotated characters with noise, in 40 classes. The third one searches on
some photos of both folders, a fifth of which are its test images, and compares its interval with the accuracy on all
other photos.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from label_errors import CHARACTERS, draw
from PIL import Image

import transferkit as tk


def main() -> None:
    """Run one of the two measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path)
    source.add_argument("--characters", action="store_true")
    parser.add_argument("--time-limit", default="5m")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--backbones", nargs="+", default=["EfficientNetLite0"])
    parser.add_argument("--max-trials", type=int)
    parser.add_argument("--seeds", type=int, help="searches on samples of the photos")
    parser.add_argument("--photos", type=int, default=300, help="photos of each sample")
    options = parser.parse_args()
    limits = {"time_limit": options.time_limit, "max_trials": options.max_trials}
    if options.seeds is None:
        compare_with_hand(options, limits)
    else:
        count_intervals(options, limits)


def compare_with_hand(options: argparse.Namespace, limits: dict[str, Any]) -> None:
    """Print the leaderboard, the seconds, and the accuracy of a default head on each backbone."""
    size = options.image_size
    data = characters(size) if options.characters else tk.DatasetBuilder(options.data, image_size=size).build()
    started = time.perf_counter()
    result = tk.autofit(data, backbones=options.backbones, **limits)
    print(result)
    print(f"{time.perf_counter() - started:.1f} seconds of {limits['time_limit']}", flush=True)
    test = data.test if options.characters else data.validation
    for name in options.backbones:
        backbone = tk.BackboneFactory.create(name, input_shape=(size, size, 3))
        for solver in ("adam", "lbfgs"):
            trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(data.num_classes)))
            trainer.fit(data, verbose=0, solver=solver)
            print(f"by hand, {name}, solver={solver!r}: {trainer.evaluate(test).accuracy:.4f}", flush=True)


def characters(size: int) -> tk.Data:
    """Return images of characters, turned by up to 45 degrees, with much noise."""
    parts = []
    for seed, per_class in enumerate((30, 10)):
        generator = np.random.default_rng(seed)
        labels = np.repeat(np.arange(len(CHARACTERS)), per_class)
        parts += [np.stack([rotated(CHARACTERS[label], generator, size) for label in labels]), labels]
    builder = tk.DatasetBuilder(tuple(parts[:2]), test=tuple(parts[2:]), class_names=list(CHARACTERS), image_size=size)
    return builder.build()


def rotated(character: str, generator: np.random.Generator, size: int) -> np.ndarray:
    """Return one image (size, size, 3)."""
    image = Image.fromarray(draw(character, generator, size))
    turned = image.rotate(generator.uniform(-45, 45), Image.Resampling.BILINEAR, fillcolor=image.getpixel((0, 0)))
    return np.clip(np.asarray(turned, float) + generator.normal(0, 40, (size, size, 3)), 0, 255).astype(np.uint8)


def count_intervals(options: argparse.Namespace, limits: dict[str, Any]) -> None:
    """Print a row for each seed: the test accuracy, its interval, and the accuracy on photos that were not used."""
    files = sorted(options.data.glob("*/*/*.jpg"))
    names = sorted({path.parent.name for path in files})
    print("| seed | test accuracy | interval | other photos | contained | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    contained = 0
    for seed in range(options.seeds):
        chosen = set(np.random.default_rng(seed).choice(len(files), options.photos, replace=False).tolist())
        parts = [[path for index, path in enumerate(files) if (index in chosen) == used] for used in (True, False)]
        used, other = (labeled(part, names, seed) for part in parts)
        started = time.perf_counter()
        result = tk.autofit(used, backbones="EfficientNetLite0", seed=seed, **limits)
        seconds = time.perf_counter() - started
        accuracy = result.best.evaluate(other.splits["train"]).accuracy
        is_inside = result.interval.low <= accuracy <= result.interval.high
        contained += is_inside
        bounds = f"{result.interval.low:.4f} to {result.interval.high:.4f}"
        print(f"| {seed} | {result.value:.4f} | {bounds} | {accuracy:.4f} | {is_inside} | {seconds:.1f} |", flush=True)
        keras.backend.clear_session()
    print(f"{contained} of {options.seeds} intervals contain the accuracy on other photos")


def labeled(paths: list[Path], names: list[str], seed: int) -> tk.Data:
    """Return data of files whose folders are their labels."""
    source = list(map(str, paths)), [path.parent.name for path in paths]
    return tk.DatasetBuilder(source, class_names=names, image_size=160, seed=seed, progress=False).build()


if __name__ == "__main__":
    main()
