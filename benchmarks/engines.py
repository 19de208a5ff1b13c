"""Milliseconds per image and numerical error of each engine, compared with Keras' `predict` and with decoding.

    python benchmarks/engines.py --data IMAGES [--backbones MobileNetV2:160 ConvNeXtTiny:160] [--json out.json]

All variants of a backbone run alternately, so that a change in the speed of the machine affects all of them. Times are
the minimum over the rounds, ratios the median within a round. Columns:

- keras: `model.predict` on decoded images.
- arrays, paths: feature extraction from decoded images and from files, with the engine that "auto" selects, created
  before. "paths bf16" is the same in bfloat16. Nothing is cached.
- floor: decoding plus the fastest float32 engine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TRANSFERKIT_HOME"] = tempfile.mkdtemp()

import keras
import numpy as np

import transferkit as tk
from transferkit.data import Split
from transferkit.engines import compile_engine
from transferkit.engines.verification import relative_error
from transferkit.features.extraction import compute_features
from transferkit.images import ImageSpec
from transferkit.images.loading import image_batches

DEFAULT = (
    "MobileNetV2:160 MobileNetV3Large:224 EfficientNetB0:224 EfficientNetV2B0:224 NASNetMobile:224 ResNet50:160 "
    "ResNet50V2:160 DenseNet121:160 InceptionV3:160 VGG16:160 ConvNeXtTiny:160"
)
# Column of the table: engine and precision.
ENGINES = {
    "frozen_graph": ("frozen_graph", "float32"),
    "openvino": ("openvino", "float32"),
    "bfloat16": ("openvino", "bfloat16"),
}
COLUMNS = ("keras", "frozen_graph", "openvino", "bfloat16", "arrays", "decode", "floor", "paths", "paths bf16")
RATIOS = ("keras / paths", "keras / paths bf16", "paths / floor", "arrays / best")
# "auto" selects an engine for this number of images, so that the choice does not depend on --images.
NUM_IMAGES = 10_000


def main() -> None:
    """Measure every backbone and print one row for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder of images, at any depth")
    parser.add_argument("--backbones", nargs="*", default=DEFAULT.split(), metavar="NAME:SIZE")
    parser.add_argument("--images", type=int, default=96, help="number of images")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", help="output file for the results")
    options = parser.parse_args()
    paths = tuple(str(path) for path in sorted(Path(options.data).rglob("*.jpg")))[: options.images]
    print(f"| {' | '.join(['backbone, size', *COLUMNS, 'error float32, bfloat16', *RATIOS])} |")
    print("| --- " * (len(COLUMNS) + len(RATIOS) + 2) + "|", flush=True)
    rows = {}
    for backbone in options.backbones:
        name, size = backbone.split(":")
        rows[backbone] = row = measure(name, int(size), paths, options.rounds)
        times, ratios = (" | ".join(f"{row[column]:.2f}" for column in columns) for columns in (COLUMNS, RATIOS))
        errors = f"{row['openvino_error']:.0e}, {row['bfloat16_error']:.0e}"
        print(f"| {backbone.replace(':', ', ')} | {times} | {errors} | {ratios} |", flush=True)
        keras.backend.clear_session()
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2))


def measure(name: str, size: int, paths: tuple[str, ...], rounds: int) -> dict[str, float]:
    """Return milliseconds per image, errors and ratios of one backbone."""
    model = tk.BackboneFactory.create(name, input_shape=(size, size, 3), weights=None).feature_extractor()
    spec = ImageSpec((size, size))
    files = Split("files", np.zeros(len(paths), np.int32), spec, paths=paths)
    images = np.concatenate(list(image_batches(paths, spec, batch_size=32)))
    decoded = Split("images", files.labels, spec, images=images)
    floats = images.astype("float32")
    engines = {key: compile_engine(model, engine=engine, precision=kind) for key, (engine, kind) in ENGINES.items()}
    selected, reduced = (
        compile_engine(model, precision=precision, count=NUM_IMAGES) for precision in ("float32", "bfloat16")
    )
    variants: dict[str, Callable[[], object]] = {
        "keras": lambda: model.predict(floats, batch_size=32, verbose=0),
        **{key: lambda engine=engine: engine(images) for key, engine in engines.items()},
        "arrays": lambda: compute_features(decoded, model, selected),
        "decode": lambda: sum(map(len, image_batches(paths, spec, batch_size=32))),
        "paths": lambda: compute_features(files, model, selected),
        "paths bf16": lambda: compute_features(files, model, reduced),
    }
    times = run_alternately(variants, rounds)
    expected = (np.asarray(model.predict(floats[:32], batch_size=32, verbose=0)),)
    errors = {f"{key}_error": relative_error(engine(images[:32]), expected) for key, engine in engines.items()}
    return {**summarize(times, len(paths)), **errors}


def run_alternately(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Run every variant once as a warm-up, then all of them in each round; return their seconds."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for index in range(rounds + 1):
        for name, run in variants.items():
            started = time.perf_counter()
            run()
            if index:
                times[name].append(time.perf_counter() - started)
    return times


def summarize(times: dict[str, list[float]], images: int) -> dict[str, float]:
    """Return minimum milliseconds per image of each variant, the floor, and the median ratios."""
    row = {name: 1000 * min(seconds) / images for name, seconds in times.items()}
    best = [min(pair) for pair in zip(times["frozen_graph"], times["openvino"])]
    floor = [sum(pair) for pair in zip(times["decode"], best)]
    row["floor"] = 1000 * min(floor) / images

    def ratio(first: list[float], second: list[float]) -> float:
        return statistics.median(a / b for a, b in zip(first, second))

    row["keras / paths"] = ratio(times["keras"], times["paths"])
    row["keras / paths bf16"] = ratio(times["keras"], times["paths bf16"])
    row["paths / floor"] = ratio(times["paths"], floor)
    row["arrays / best"] = ratio(times["arrays"], best)
    return row


if __name__ == "__main__":
    main()
