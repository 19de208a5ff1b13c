"""What augmented draws of each photograph are worth: accuracy against time, cross-validated.

    python benchmarks/views.py --data PHOTOS [--backbone EfficientNetLite0 --image-size 224]
        [--backbone MobileNetV2 --alpha 0.35 --weights WEIGHTS.h5 --image-size 160] [--json out.json]

Features of all photographs are extracted once, as they are and in ten draws. For each choice of views, the head is
trained as `Trainer.fit` trains it (ten epochs of Adam, dropout 0.2, batches of 32, epochs take the views in turn), on
four fifths of the photographs and tested on the fifth, in as many divisions as asked for. All choices see the same
divisions, so the column of differences, to the default of the library, scatters less than the accuracies do.
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
from transferkit.features.extraction import HALF, View, extract_views
from transferkit.images import ImageSpec
from transferkit.training.feature_batches import training_batches

# Name to which views: None is the photograph as it is, numbers are draws, HALF is either for half of the photographs.
CHOICES = {
    "as they are": [None],
    "half and half": [HALF],
    **{f"{count} draw{'s' * (count > 1)} alone": list(range(count)) for count in (1, 2, 3, 5, 10)},
    **{f"as they are + {count}": [None, *range(count)] for count in (1, 2, 3, 5, 10)},
}
DEFAULT = "half and half"
EPOCHS, BATCH = 10, 32


def main() -> None:
    """Train for each choice of views and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="a folder of photographs in folders of classes, at any depth")
    parser.add_argument("--backbone", default="EfficientNetLite0")
    parser.add_argument("--alpha", type=float)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--learning-rates", type=float, nargs="*", default=[1e-4, 1e-3])
    parser.add_argument("--divisions", type=int, default=4, help="times the photographs are divided into fifths")
    parser.add_argument("--json", help="where to write the figures")
    options = parser.parse_args()
    features, labels, seconds = extracted(options)
    rows = []
    print("| learning rate | views | accuracy | loss | better than the default by | extraction, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for rate in options.learning_rates:
        results = {name: scores(features, views, labels, rate, options.divisions) for name, views in CHOICES.items()}
        for name, (accuracies, losses) in results.items():
            apart = np.subtract(accuracies, results[DEFAULT][0])
            error = float(np.std(apart)) / len(apart) ** 0.5
            cost = sum(seconds[view] for view in CHOICES[name])
            row = {"learning_rate": rate, "views": name, "seconds": cost, "accuracies": accuracies, "losses": losses}
            rows.append(row)
            print(
                f"| {rate:g} | {name} | {statistics.mean(accuracies):.4f} | {statistics.mean(losses):.4f} "
                f"| {apart.mean():+.4f} ± {error:.4f} | {cost:.1f} |",
                flush=True,
            )
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2))


def extracted(options: argparse.Namespace) -> tuple[dict[View, np.ndarray], np.ndarray, dict[View, float]]:
    """Return the features of each view, the labels, and how long each view took; nothing comes from the store."""
    paths = sorted(map(str, Path(options.data).rglob("*.jpg")))
    names = sorted({Path(path).parent.name for path in paths})
    labels = np.array([names.index(Path(path).parent.name) for path in paths], np.int32)
    size = (options.image_size, options.image_size)
    alpha = {} if options.alpha is None else {"alpha": options.alpha}
    backbone = tk.BackboneFactory.create(options.backbone, input_shape=(*size, 3), weights=options.weights, **alpha)
    split, block = Split("all", labels, ImageSpec(size), paths=tuple(paths)), tk.AugmentationBlock(rotation=0.2)
    features: dict[View, np.ndarray] = {}
    seconds: dict[View, float] = {}
    for view in (None, *range(10)):
        started = time.perf_counter()
        ((array,),) = extract_views(split, backbone.extractor(), views=(view,), augmentation=block, store=False)
        features[view], seconds[view] = array, time.perf_counter() - started
    drawn = np.random.default_rng(0).random(len(labels)) < 0.5
    features[HALF] = np.where(drawn[:, None], features[0], features[None])
    seconds[HALF] = (seconds[None] + seconds[0]) / 2
    return features, labels, seconds


def scores(
    features: dict[View, np.ndarray], views: list[View], labels: np.ndarray, rate: float, divisions: int
) -> tuple[list[float], list[float]]:
    """Return accuracy and loss of each division's tests, five to a division."""
    accuracies, losses = [], []
    for division in range(divisions):
        order = np.random.default_rng(division).permutation(len(labels))
        for held_out in np.array_split(order, 5):
            load_compiled = np.setdiff1d(order, held_out)
            chosen = [(features[view][load_compiled],) for view in views]
            kernel, bias = trained(chosen, labels[load_compiled], rate, division)
            logits = features[None][held_out] @ kernel + bias
            accuracies.append(float(np.mean((logits > 0) == (labels[held_out] == 1))))
            losses.append(float(np.mean(np.logaddexp(0, logits) - labels[held_out] * logits)))
    return accuracies, losses


def trained(views: list[tuple[np.ndarray]], labels: np.ndarray, rate: float, seed: int) -> tuple[np.ndarray, float]:
    """Train one logit as the library does; return its kernel and bias."""
    order = training_batches(views, labels, batch_size=BATCH, seed=seed, first_epoch=0, epochs=EPOCHS)
    kernel, bias = tf.Variable(tf.zeros(views[0][0].shape[1])), tf.Variable(0.0)
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build([kernel, bias])

    @tf.function(autograph=False, reduce_retracing=True)
    def step(rows: tf.Tensor, targets: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = tf.linalg.matvec(tf.nn.dropout(rows, 0.2), kernel) + bias
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(targets, tf.float32), logits))
        optimizer.apply(tape.gradient(loss, [kernel, bias]), [kernel, bias])

    tf.random.set_seed(seed)
    for rows, targets in order:
        step(rows, targets)
    return kernel.numpy(), float(bias)


if __name__ == "__main__":
    main()
