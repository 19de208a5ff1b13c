"""Milliseconds an image of each engine, with the error of its features, beside decoding and the floor.

    python benchmarks/engines.py --data PHOTOS [--backbones MobileNetV2:160 ConvNeXtTiny:160] [--json out.json]

All ways of a backbone run in turns, so that a machine whose speed drifts is fair to all; times are the least of the
rounds, ratios the median of those within a round. "keras" is `model.predict` on decoded images; "arrays" is feature
extraction from decoded images and "paths" from files, decoding included, both with the engine that `engine="auto"`
chooses, converted before, and nothing stored; "paths bf16" is the same in bfloat16. The floor is decoding plus the
fastest engine in float32.
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
from transferkit.engines import compile_engine, relative_error
from transferkit.features.extraction import LazyEngine, extract_features
from transferkit.images import ImageSpec
from transferkit.images.loading import image_batches
from transferkit.images.memory_cache import PIXEL_MEMORY

DEFAULT = (
    "MobileNetV2:160 MobileNetV3Large:224 EfficientNetB0:224 EfficientNetV2B0:224 NASNetMobile:224 ResNet50:160 "
    "ResNet50V2:160 DenseNet121:160 InceptionV3:160 VGG16:160 ConvNeXtTiny:160"
)
# Of the same name, what is asked of `compile_engine`.
ENGINES = {
    "frozen_graph": ("frozen_graph", "float32"),
    "openvino": ("openvino", "float32"),
    "bfloat16": ("openvino", "bfloat16"),
}
TITLES = ("keras", "frozen_graph", "openvino", "bfloat16", "arrays", "decode", "floor", "paths", "paths bf16")
RATIOS = ("keras / paths", "keras / paths bf16", "paths / floor", "arrays / best")


def main() -> None:
    """Measure every backbone and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="a folder of photographs, at any depth")
    parser.add_argument("--backbones", nargs="*", default=DEFAULT.split())
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json")
    options = parser.parse_args()
    paths = tuple(str(path) for path in sorted(Path(options.data).rglob("*.jpg")))[: options.images]
    print(f"| {' | '.join(['backbone, size', *TITLES, 'error f32, bf16', *RATIOS])} |")
    print("| --- " * (len(TITLES) + len(RATIOS) + 2) + "|", flush=True)
    rows = {}
    for wanted in options.backbones:
        name, size = wanted.split(":")
        rows[wanted] = row = measure(name, int(size), paths, options.rounds)
        figures = " | ".join(f"{row[title]:.2f}" for title in TITLES)
        errors = f"{row['openvino_error']:.0e}, {row['bfloat16_error']:.0e}"
        ratios = " | ".join(f"{row[title]:.2f}" for title in RATIOS)
        print(f"| {wanted.replace(':', ', ')} | {figures} | {errors} | {ratios} |", flush=True)
        keras.backend.clear_session()
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2))


def measure(name: str, size: int, paths: tuple[str, ...], rounds: int) -> dict[str, float]:
    """Return the figures of one backbone, in milliseconds an image, and the ratios."""
    model = tk.BackboneFactory.create(name, input_shape=(size, size, 3), weights=None).extractor()
    pixels = ImageSpec((size, size))
    files = Split("files", np.zeros(len(paths), np.int32), pixels, paths=paths)
    images = np.concatenate(list(image_batches(paths, pixels, batch_size=32)))
    decoded = Split("images", files.labels, pixels, images=images)
    floats = images.astype("float32")
    engines = {key: compile_engine(model, engine=engine, precision=kind) for key, (engine, kind) in ENGINES.items()}
    chosen, reduced = (
        LazyEngine(model, "auto", precision, count=lambda: 10_000) for precision in ("float32", "bfloat16")
    )
    ways: dict[str, Callable[[], object]] = {
        "keras": lambda: model.predict(floats, batch_size=32, verbose=0),
        **{key: lambda engine=engine: engine(images) for key, engine in engines.items()},
        "arrays": lambda: extract_features(decoded, model, engine=chosen, store=False),
        "decode": lambda: sum(map(len, image_batches(paths, pixels, batch_size=32))),
        "paths": lambda: extract_features(files, model, engine=chosen, store=False),
        "paths bf16": lambda: extract_features(files, model, engine=reduced, precision="bfloat16", store=False),
    }
    times = in_turns(ways, rounds)
    expected = (np.asarray(model.predict(floats[:32], batch_size=32, verbose=0)),)
    errors = {f"{key}_error": relative_error(engine(images[:32]), expected) for key, engine in engines.items()}
    return {**summary(times, len(paths)), **errors}


def in_turns(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Run every way once for nothing, then all of them in each round; return their seconds."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, run in ways.items():
            PIXEL_MEMORY.clear()
            started = time.perf_counter()
            run()
            if number:
                times[name].append(time.perf_counter() - started)
    return times


def summary(times: dict[str, list[float]], images: int) -> dict[str, float]:
    """Return the least milliseconds of each way, the floor, and the median ratios."""
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
