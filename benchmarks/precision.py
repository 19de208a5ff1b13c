"""Effect of reduced precision on features, on the accuracy of a linear head, and on the time.

    python benchmarks/precision.py --data IMAGES [--alpha 0.35 --weights WEIGHTS.h5] [--json out.json]

For EfficientNetLite0, and for MobileNetV2 if weights are given: features of all images in float32, in bfloat16, and
stored as float16; the largest and the mean error relative to the largest feature; and the cross-validated accuracy of a
regularized linear head. The folds are the same for all variants.
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

import numpy as np

import transferkit as tk
from transferkit.data import Split
from transferkit.engines import compile_engine
from transferkit.features.extraction import compute_features
from transferkit.features.linear_probe import fit_linear_probe, probe_logits
from transferkit.images import ImageSpec

# Row of the table: precision of the engine and dtype of the stored features.
VARIANTS = {
    "float32": ("float32", "float32"),
    "bfloat16": ("bfloat16", "float32"),
    "stored as float16": ("float32", "float16"),
}
FLOAT16_MAX = float(np.finfo("float16").max)


def main() -> None:
    """Measure each backbone in each precision and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with one subfolder per class, at any depth")
    parser.add_argument("--weights", help="weights file of MobileNetV2 without its top")
    parser.add_argument("--alpha", type=float, default=1.0, help="width multiplier of MobileNetV2")
    parser.add_argument("--repeat", type=int, default=4, help="repetitions of 5-fold cross-validation")
    parser.add_argument("--json", help="output file for the results")
    options = parser.parse_args()
    paths = sorted(map(str, Path(options.data).rglob("*.jpg")))
    labels = np.unique([Path(path).parent.name for path in paths], return_inverse=True)[1].astype(np.int32)
    backbones = {"EfficientNetLite0": tk.BackboneFactory.create("EfficientNetLite0", input_shape=(224, 224, 3))}
    if options.weights:
        backbones["MobileNetV2"] = tk.BackboneFactory.create(
            "MobileNetV2", input_shape=(160, 160, 3), alpha=options.alpha, weights=options.weights
        )
    rows = []
    print("| backbone | features | ms per image | largest error | mean error | accuracy of a linear head |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, backbone in backbones.items():
        for row in measure(backbone, paths, labels, options.repeat):
            rows.append({"backbone": name, **row})
            print(
                f"| {name} | {row['variant']} | {row['ms_per_image']:.2f} | {row['largest_error']:.1e} "
                f"| {row['mean_error']:.1e} | {row['accuracy']:.4f} |",
                flush=True,
            )
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2))


def measure(backbone: object, paths: list[str], labels: np.ndarray, repeats: int) -> list[dict[str, object]]:
    """Return a row of results for each variant."""
    model = backbone.feature_extractor()
    split = Split("all", labels, ImageSpec(backbone.input_shape[:2]), paths=tuple(paths))
    rows, reference = [], None
    for variant, (precision, dtype) in VARIANTS.items():
        engine = compile_engine(model, precision=precision, count=len(paths))
        started = time.perf_counter()
        (features,) = compute_features(split, model, engine)
        milliseconds = (time.perf_counter() - started) / len(paths) * 1000
        if dtype == "float16":
            features = features.clip(-FLOAT16_MAX, FLOAT16_MAX).astype("float16").astype("float32")
        reference = features if reference is None else reference
        errors = np.abs(features - reference) / np.abs(reference).max()
        rows.append(
            {
                "variant": variant,
                "ms_per_image": milliseconds,
                "largest_error": float(errors.max()),
                "mean_error": float(errors.mean()),
                "accuracy": cross_validate(features, labels, repeats),
            }
        )
    return rows


def cross_validate(features: np.ndarray, labels: np.ndarray, repeats: int) -> float:
    """Return the mean accuracy of a regularized linear head over `repeats` times five folds."""
    accuracies = []
    for repeat in range(repeats):
        for test in np.array_split(np.random.default_rng(repeat).permutation(len(labels)), 5):
            train = np.setdiff1d(np.arange(len(labels)), test)
            probe = fit_linear_probe(features[train], labels[train], 2, l2=0.1)
            positive = probe_logits(probe, features[test]).ravel() > 0
            accuracies.append(np.mean(positive == (labels[test] == 1)))
    return float(np.mean(accuracies))


if __name__ == "__main__":
    main()
