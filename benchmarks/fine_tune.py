"""Seconds per epoch of fine-tuning: end-to-end Keras training in float32, compared with cached features.

    python benchmarks/fine_tune.py --data IMAGES [--job MobileNetV2:100 ResNet50:conv5_block1_1_conv]
        [--precision float32 bfloat16] [--epochs 4] [--images 320] [--learning-rate 1e-5]
        [--alpha 0.35 --weights WEIGHTS.h5] [--json out.json]

The variants train alternately, one epoch at a time, so that a change in the speed of the machine affects all of them.
Ratios are those within a round: median, minimum and maximum. The first epoch, which includes tracing, feature
extraction and the selection of the precision, is reported separately.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TRANSFERKIT_HOME"] = tempfile.mkdtemp()

import keras
import numpy as np

import transferkit as tk

JOBS = ("MobileNetV2:100", "MobileNetV2:124", "ResNet50:conv5_block1_1_conv", "EfficientNetLite0:90")
# Pretrained weights that need no network. The features of an untrained backbone can be close to zero; its loss is then
# log(2) in every precision.
WEIGHTS = {"EfficientNetLite0": "imagenet"}


class TakeTurns(keras.callbacks.Callback):
    """Measure the seconds of each epoch, and let the next variant train one epoch before this one continues."""

    def __init__(self, own: threading.Event, following: threading.Event, epochs: int) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._own, self._following, self._epochs = own, following, epochs

    def wait(self) -> None:
        self._own.wait()
        self._own.clear()
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.seconds.append(time.perf_counter() - self._started)
        self._following.set()
        if len(self.seconds) < self._epochs:
            self.wait()

    def finish(self) -> None:
        """Pass on the remaining turns, so that the other variants continue after an error in this one."""
        while len(self.seconds) < self._epochs:
            self.on_epoch_end(0)


def main() -> None:
    """Measure all variants of each job and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder of images in class folders, or with train/")
    parser.add_argument("--job", nargs="+", default=JOBS, metavar="BACKBONE:LAYER")
    parser.add_argument("--precision", nargs="+", default=("float32", "bfloat16"))
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--images", type=int, default=320, help="number of training images")
    parser.add_argument("--learning-rate", type=float, default=1e-5, help="default: that of the tutorial")
    parser.add_argument("--weights", help="weights file of MobileNetV2 without its top")
    parser.add_argument("--alpha", type=float, default=1.0, help="width multiplier of MobileNetV2")
    parser.add_argument("--json", help="output file for the results")
    options = parser.parse_args()
    data = load_subset(options.data, options.images)
    print("| job | variant | precision | s per epoch | speedup (min..max) | first epoch, s | loss difference |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    results = {}
    for job in options.job:
        variants = [(False, "float32"), *((True, precision) for precision in options.precision)]
        results[job] = measure(job, variants, data, options)
        for row in results[job]:
            median, smallest, largest = row["speedup"]
            print(
                f"| {job} | {row['variant']} | {row['precision']} | {row['seconds']:.2f} | {median:.2f} "
                f"({smallest:.2f}..{largest:.2f}) | {row['first_epoch']:.1f} | {row['loss_difference']:.1e} |",
                flush=True,
            )
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2))


def load_subset(folder: str, count: int) -> object:
    """Return `count` training images at even distances, and a quarter as many for validation."""
    train = tk.DatasetBuilder(folder, image_size=(160, 160), batch_size=32).build().splits["train"]
    indices = np.linspace(0, len(train) - 1, min(len(train), count + count // 4)).astype(int)
    paths, labels = [train.paths[index] for index in indices], [int(train.labels[index]) for index in indices]
    return tk.DatasetBuilder((paths, labels), validation=0.2, image_size=(160, 160), batch_size=32).build()


def measure(
    job: str, variants: list[tuple[bool, str]], data: object, options: argparse.Namespace
) -> list[dict[str, object]]:
    """Train each variant in a separate thread, one of them at a time; return one row of results for each."""
    name, _, layer = job.partition(":")
    backbone = {"weights": WEIGHTS.get(name)}
    if name == "MobileNetV2":
        backbone = {"weights": options.weights, "alpha": options.alpha}
    events = [threading.Event() for _ in variants]
    turns = [TakeTurns(own, events[(i + 1) % len(events)], options.epochs) for i, own in enumerate(events)]
    trainers = [build_trainer(name, backbone, *variant) for variant in variants]

    def train(trainer: tk.Trainer, turn: TakeTurns) -> list[float]:
        turn.wait()
        unfreeze_from = int(layer) if layer.isdigit() else layer
        try:
            history = trainer.fine_tune(
                data,
                options.epochs,
                unfreeze_from=unfreeze_from,
                learning_rate=options.learning_rate,
                callbacks=[turn],
                verbose=0,
            )
            return history.history["loss"]
        finally:
            turn.finish()

    with ThreadPoolExecutor(len(variants)) as pool:
        futures = [pool.submit(train, *pair) for pair in zip(trainers, turns)]
        events[0].set()
        losses = [future.result() for future in futures]
    return [
        {
            "variant": f"transferkit, {precision}" if cache else "plain Keras",
            "precision": trainer.history.phases[-1].precision,
            "seconds": statistics.median(turn.seconds[1:]),
            "speedup": median_min_max(np.divide(turns[0].seconds[1:], turn.seconds[1:])),
            "first_epoch": turn.seconds[0],
            "loss_difference": float(np.abs(np.subtract(own, losses[0])).max()),
            "losses": own,
        }
        for (cache, precision), trainer, turn, own in zip(variants, trainers, turns, losses)
    ]


def build_trainer(name: str, options: dict[str, object], cache: bool, precision: str) -> tk.Trainer:
    """Return a trainer of a new classifier; all have the same initial weights."""
    keras.utils.set_random_seed(0)
    backbone = tk.BackboneFactory.create(name, input_shape=(160, 160, 3), **options)
    model = tk.build_classifier(backbone, tk.ClassifierHead(2))
    return tk.Trainer(model, cache=cache, precision=precision)


def median_min_max(ratios: np.ndarray) -> list[float]:
    """Return the median, the minimum and the maximum."""
    return [float(np.median(ratios)), float(ratios.min()), float(ratios.max())]


if __name__ == "__main__":
    main()
