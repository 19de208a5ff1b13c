"""How many augmented draws of each photograph are worth their time: accuracy against seconds.

    python benchmarks/views.py --data PHOTOS --weights WEIGHTS.h5 --alpha 0.35

For each number of draws (and for none), the head of MobileNetV2 is trained for ten epochs with several seeds; a line
gives the mean accuracy and loss on the held-out photographs and the seconds of the whole, features included.
"""

from __future__ import annotations

import argparse
import json
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import transferkit as tk


def main() -> None:
    """Train for each number of draws and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="a folder with train/ and validation/")
    parser.add_argument("--weights", required=True, help="weights of MobileNetV2 without its top")
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--views", type=int, nargs="*", default=[0, 1, 2, 3, 5, 10])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", help="where to write the figures")
    options = parser.parse_args()
    data = tk.DatasetBuilder(options.data, image_size=160).build()
    rows = [measure(data, views, options) for views in options.views]
    print("draws  accuracy    loss  seconds")
    for row in rows:
        print(f"{row['views']:5}  {row['accuracy']:8.4f}  {row['loss']:6.4f}  {row['seconds']:7.1f}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=2)


def measure(data: object, views: int, options: argparse.Namespace) -> dict[str, float]:
    """Return the mean figures over the seeds; no draws (0) means training without augmentation."""
    reports, seconds = [], []
    for seed in range(options.seeds):
        tk.cache.clear()
        backbone = tk.BackboneFactory.create(
            "MobileNetV2", input_shape=(160, 160, 3), alpha=options.alpha, weights=options.weights
        )
        augmentation = tk.AugmentationBlock(rotation=0.2, seed=seed) if views else None
        model = tk.build_classifier(backbone, tk.ClassifierHead(2, seed=seed), augmentation=augmentation)
        trainer = tk.Trainer(model, learning_rate=options.learning_rate, seed=seed)
        started = time.perf_counter()
        trainer.fit(data, epochs=10, views=max(1, views), verbose=0)
        seconds.append(time.perf_counter() - started)
        reports.append(trainer.evaluate(data.validation))
    return {
        "views": views,
        "accuracy": float(np.mean([report.accuracy for report in reports])),
        "loss": float(np.mean([report.loss for report in reports])),
        "seconds": float(np.median(seconds)),
    }


if __name__ == "__main__":
    main()
