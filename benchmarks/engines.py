"""Milliseconds an image of each engine, with the error of its features, beside decoding and the floor.

    python benchmarks/engines.py --data PHOTOS [--backbones MobileNetV2:160 ConvNeXtTiny:160] [--json out.json]

The floor is decoding plus the fastest engine in float32; "from paths" is feature extraction as users call it, decoding
included, with the engine converted before and nothing stored.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TRANSFERKIT_HOME"] = tempfile.mkdtemp()

import keras
import numpy as np

import transferkit as tk
from transferkit.data import PixelSpec, Split
from transferkit.data.pixels import pixel_batches
from transferkit.features.engines import compile_engine, relative_error
from transferkit.features.extract import feature_arrays

DEFAULT = (
    "MobileNetV2:160 MobileNetV3Large:224 EfficientNetB0:224 EfficientNetV2B0:224 NASNetMobile:224 ResNet50:160 "
    "ResNet50V2:160 DenseNet121:160 InceptionV3:160 VGG16:160 ConvNeXtTiny:160"
)
ENGINES = (("frozen_graph", "float32"), ("openvino", "float32"), ("openvino", "bfloat16"))
BATCH = 32


def main() -> None:
    """Measure every backbone and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="a folder of photographs, at any depth")
    parser.add_argument("--backbones", nargs="*", default=DEFAULT.split())
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--json")
    options = parser.parse_args()
    paths = tuple(str(path) for path in sorted(Path(options.data).rglob("*.jpg")))[: options.images]
    rows = []
    titles = "predict  frozen  openvino (error)   bf16 (error)   decode  floor  from paths  x predict"
    print(f"{'backbone, size':24} {titles}", flush=True)
    for wanted in options.backbones:
        name, size = wanted.split(":")
        row = measure(name, int(size), paths)
        rows.append(row)
        print(
            f"{wanted:24} {row['predict']:7.2f} {row['frozen_graph']:7.2f} {row['openvino']:9.2f} "
            f"({row['openvino_error']:.0e}) {row['openvino_bfloat16']:6.2f} ({row['openvino_bfloat16_error']:.0e}) "
            f"{row['decode']:8.2f} {row['floor']:6.2f} {row['from_paths']:11.2f} "
            f"{row['predict'] / row['from_paths']:10.1f}",
            flush=True,
        )
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2))


def measure(name: str, size: int, paths: tuple[str, ...]) -> dict[str, float]:
    """Return the figures of one backbone, in milliseconds an image."""
    keras.backend.clear_session()
    backbone = tk.BackboneFactory.create(name, input_shape=(size, size, 3), weights=None)
    model = backbone.extractor()
    images = np.random.default_rng(0).uniform(0, 255, (2 * BATCH, size, size, 3)).astype("float32")
    row: dict[str, float] = {}
    expected = model.predict(images[:BATCH], batch_size=BATCH, verbose=0)
    row["predict"] = best(lambda: model.predict(images, batch_size=BATCH, verbose=0), len(images))
    for engine, precision in ENGINES:
        compiled = compile_engine(model, engine=engine, precision=precision, batch_size=BATCH)
        key = engine if precision == "float32" else f"{engine}_{precision}"
        row[key] = best(lambda compiled=compiled: compiled(images[:BATCH]), BATCH)
        row[f"{key}_error"] = relative_error(compiled(images[:BATCH]), (np.asarray(expected),))
    pixels = PixelSpec((size, size))
    split = Split("images", np.zeros(len(paths), np.int32), pixels, paths=paths)
    row["decode"] = cold(
        lambda: sum(len(batch) for batch in pixel_batches(paths, pixels, batch_size=BATCH)), len(paths)
    )
    row["floor"] = row["decode"] + min(row["frozen_graph"], row["openvino"])
    feature_arrays(split, model, store=False)
    row["from_paths"] = cold(lambda: feature_arrays(split, model, store=False), len(paths))
    return row


def best(run: object, images: int, rounds: int = 4) -> float:
    """Return the least milliseconds an image over some rounds."""
    run()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times) / images * 1000


def cold(run: object, images: int, rounds: int = 3) -> float:
    """Return the least milliseconds an image, the memory of decoded images emptied before each round."""
    from transferkit.data.memory import PIXEL_MEMORY

    times = []
    for _ in range(rounds):
        PIXEL_MEMORY.clear()
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times) / images * 1000


if __name__ == "__main__":
    main()
