"""Accuracy and extraction time for different numbers of augmented views per image, cross-validated.

    python benchmarks/augmented_views.py --data IMAGES [--backbone EfficientNetLite0 --image-size 224]
        [--backbone MobileNetV2 --alpha 0.35 --weights WEIGHTS.h5 --image-size 160] [--json out.json]

Features of all images are extracted once, for the originals and for ten augmented views. For each choice of views, a
head is trained as `Trainer.fit` trains it (ten epochs of Adam, dropout 0.2, batches of 32, epochs cycle through the
views) on four folds and tested on the fifth. All choices use the same folds, so that the difference from the default of
the library has a smaller standard error than the accuracies.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import transferkit as tk
from transferkit.data import Split
from transferkit.engines import compile_engine
from transferkit.features.shard import Shard, compute_shard
from transferkit.images import ImageSpec
from transferkit.training.feature_data import training_batches

# "original", "mixed" (an augmented view for half of the images), or the index of an augmented view.
View = int | str
CHOICES: dict[str, list[View]] = {
    "original": ["original"],
    "mixed": ["mixed"],
    **{f"{count} augmented": list(range(count)) for count in (1, 2, 3, 5, 10)},
    **{f"original + {count}": ["original", *range(count)] for count in (1, 2, 3, 5, 10)},
}
DEFAULT = "mixed"
EPOCHS, BATCH_SIZE = 10, 32


def main() -> None:
    """Train a head for each choice of views and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with one subfolder per class, at any depth")
    parser.add_argument("--backbone", default="EfficientNetLite0", help="name in the catalogue")
    parser.add_argument("--alpha", type=float, help="width multiplier of MobileNetV2")
    parser.add_argument("--weights", default="imagenet", help="as in BackboneFactory.create")
    parser.add_argument("--image-size", type=int, default=224, help="side in pixels")
    parser.add_argument("--learning-rates", type=float, nargs="*", default=[1e-4, 1e-3])
    parser.add_argument("--repeat", type=int, default=4, help="repetitions of 5-fold cross-validation")
    parser.add_argument("--json", help="output file for the results")
    options = parser.parse_args()
    features, labels, seconds = extract(options)
    rows = []
    print("| learning rate | views | accuracy | loss | difference from mixed | extraction, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for rate in options.learning_rates:
        results = {
            name: cross_validate([features[view] for view in views], features["original"], labels, rate, options.repeat)
            for name, views in CHOICES.items()
        }
        for name, (accuracies, losses) in results.items():
            difference = np.subtract(accuracies, results[DEFAULT][0])
            error = float(np.std(difference)) / len(difference) ** 0.5
            cost = sum(seconds[view] for view in CHOICES[name])
            row = {"learning_rate": rate, "views": name, "seconds": cost, "accuracies": accuracies, "losses": losses}
            rows.append(row)
            print(
                f"| {rate:g} | {name} | {statistics.mean(accuracies):.4f} | {statistics.mean(losses):.4f} "
                f"| {difference.mean():+.4f} ± {error:.4f} | {cost:.1f} |",
                flush=True,
            )
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2))


def extract(options: argparse.Namespace) -> tuple[dict[View, np.ndarray], np.ndarray, dict[View, float]]:
    """Return the features of each view, the labels, and the extraction time of each view; nothing is cached."""
    paths = sorted(map(str, Path(options.data).rglob("*.jpg")))
    labels = np.unique([Path(path).parent.name for path in paths], return_inverse=True)[1].astype(np.int32)
    size = (options.image_size, options.image_size)
    alpha = {} if options.alpha is None else {"alpha": options.alpha}
    backbone = tk.BackboneFactory.create(options.backbone, input_shape=(*size, 3), weights=options.weights, **alpha)
    split, block = Split("all", labels, ImageSpec(size), paths=tuple(paths)), tk.AugmentationBlock(rotation=0.2)
    engine = compile_engine(backbone.feature_extractor(), count=11 * len(paths))
    features: dict[View, np.ndarray] = {}
    seconds: dict[View, float] = {}
    for view in ("original", *range(10)):
        shard = Shard(split, range(len(paths)))
        if view != "original":
            seeds = np.random.default_rng(view).integers(0, 2**32, (len(paths), 2), np.uint32)
            shard = Shard(split, range(len(paths)), seeds, np.ones(len(paths), bool), block)
        started = time.perf_counter()
        (features[view],) = compute_shard(shard, engine)
        seconds[view] = time.perf_counter() - started
    augmented = np.random.default_rng(0).random(len(labels)) < 0.5
    features["mixed"] = np.where(augmented[:, None], features[0], features["original"])
    seconds["mixed"] = (seconds["original"] + seconds[0]) / 2
    return features, labels, seconds


def cross_validate(
    views: list[np.ndarray], originals: np.ndarray, labels: np.ndarray, learning_rate: float, repeats: int
) -> tuple[list[float], list[float]]:
    """Return accuracy and loss on the original test images of each fold, five folds per repetition."""
    accuracies, losses = [], []
    for repeat in range(repeats):
        order = np.random.default_rng(repeat).permutation(len(labels))
        for test in np.array_split(order, 5):
            train = np.setdiff1d(order, test)
            kernel, bias = train_head([(view[train],) for view in views], labels[train], learning_rate, repeat)
            logits = originals[test] @ kernel + bias
            accuracies.append(float(np.mean((logits > 0) == (labels[test] == 1))))
            losses.append(float(np.mean(np.logaddexp(0, logits) - labels[test] * logits)))
    return accuracies, losses


def train_head(
    views: list[tuple[np.ndarray]], labels: np.ndarray, learning_rate: float, seed: int
) -> tuple[np.ndarray, float]:
    """Train one logit as the trainer does; return its kernel and bias."""
    batches = training_batches(views, (labels,), batch_size=BATCH_SIZE, seed=seed, epochs=range(EPOCHS))
    kernel, bias = tf.Variable(tf.zeros(views[0][0].shape[1])), tf.Variable(0.0)
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build([kernel, bias])

    @tf.function(autograph=False, reduce_retracing=True)
    def step(features: tf.Tensor, targets: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = tf.linalg.matvec(tf.nn.dropout(features, 0.2), kernel) + bias
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(targets, tf.float32), logits))
        optimizer.apply(tape.gradient(loss, [kernel, bias]), [kernel, bias])

    tf.random.set_seed(seed)
    for features, targets in batches:
        step(features, targets)
    return kernel.numpy(), float(bias)


if __name__ == "__main__":
    main()
