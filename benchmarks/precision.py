"""What reduced precision does to features, to the accuracy of a head on them, and to the time.

    python benchmarks/precision.py --data PHOTOS [--alpha 0.35 --weights WEIGHTS.h5] [--json out.json]

For EfficientNetLite0, and for MobileNetV2 where weights are given: features of all photographs in float32, in bfloat16,
and kept as float16; their largest and their mean error relative to the largest feature; and the accuracy of the best
linear head on them, cross-validated, the divisions being the same for all.
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
from transferkit.data import Split
from transferkit.features.extraction import LazyEngine, extract_features
from transferkit.features.linear_probe import fit_linear_probe, logits_of
from transferkit.images import ImageSpec

WAYS = {"float32": {}, "bfloat16": {"precision": "bfloat16"}, "kept as float16": {"feature_dtype": "float16"}}


def main() -> None:
    """Measure each backbone in each precision and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="a folder of photographs in folders of classes, at any depth")
    parser.add_argument("--weights", help="weights of MobileNetV2 without its top")
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--divisions", type=int, default=4, help="times the photographs are divided into fifths")
    parser.add_argument("--json", help="where to write the figures")
    options = parser.parse_args()
    paths = sorted(map(str, Path(options.data).rglob("*.jpg")))
    labels = np.unique([Path(path).parent.name for path in paths], return_inverse=True)[1].astype(np.int32)
    backbones = {"EfficientNetLite0": tk.BackboneFactory.create("EfficientNetLite0", input_shape=(224, 224, 3))}
    if options.weights:
        backbones["MobileNetV2"] = tk.BackboneFactory.create(
            "MobileNetV2", input_shape=(160, 160, 3), alpha=options.alpha, weights=options.weights
        )
    rows = []
    print("| backbone | features | ms an image | largest error | mean error | accuracy of a linear head |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, backbone in backbones.items():
        for row in measure(backbone, paths, labels, options.divisions):
            rows.append({"backbone": name, **row})
            print(
                f"| {name} | {row['way']} | {row['milliseconds']:.2f} | {row['largest_error']:.1e} "
                f"| {row['mean_error']:.1e} | {row['accuracy']:.4f} |",
                flush=True,
            )
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2))


def measure(backbone: object, paths: list[str], labels: np.ndarray, divisions: int) -> list[dict[str, object]]:
    """Return a row of figures for each precision."""
    model: keras.Model = backbone.extractor()
    split = Split("all", labels, ImageSpec(backbone.input_shape[:2]), paths=tuple(paths))
    rows, exact = [], np.empty(0)
    for way, options in WAYS.items():
        engine = LazyEngine(model, "auto", options.get("precision", "float32"))
        engine.ready(len(paths))
        started = time.perf_counter()
        (array,) = extract_features(split, model, engine=engine, store=False, **options)
        milliseconds = (time.perf_counter() - started) / len(paths) * 1000
        features = array.astype("float32")
        exact = exact if len(exact) else features
        errors = np.abs(features - exact) / np.abs(exact).max()
        rows.append(
            {
                "way": way,
                "milliseconds": milliseconds,
                "largest_error": float(errors.max()),
                "mean_error": float(errors.mean()),
                "accuracy": accuracy(features, labels, divisions),
            }
        )
    return rows


def accuracy(features: np.ndarray, labels: np.ndarray, divisions: int) -> float:
    """Return the mean accuracy of a regularised linear head on the fifths of each division."""
    right = []
    for division in range(divisions):
        for held_out in np.array_split(np.random.default_rng(division).permutation(len(labels)), 5):
            load_compiled = np.setdiff1d(np.arange(len(labels)), held_out)
            fit = fit_linear_probe(features[load_compiled], labels[load_compiled], 2, l2=0.1)
            right.append(np.mean((logits_of(fit, features[held_out]) > 0).ravel() == (labels[held_out] == 1)))
    return float(np.mean(right))


if __name__ == "__main__":
    main()
