"""Seconds an epoch of fine-tuning: ordinary Keras training in float32, against training above the freeze boundary.

    python benchmarks/fine_tune.py --data PHOTOS [--job MobileNetV2:100 ResNet50:conv5_block1_1_conv]
        [--precision float32 bfloat16] [--epochs 4] [--images 320] [--learning-rate 1e-5]
        [--alpha 0.35 --weights WEIGHTS.h5] [--json out.json]

The ways train in turns, an epoch each, so that a machine whose speed drifts is fair to all; ratios are those within
a turn: median, smallest and largest. The first epoch, with tracing and on our side the run of the lower part and the
measuring of precisions, is left out of them and given beside.
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

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TRANSFERKIT_HOME"] = tempfile.mkdtemp()

import keras
import numpy as np

import transferkit as tk

JOBS = ("MobileNetV2:100", "MobileNetV2:124", "ResNet50:conv5_block1_1_conv", "EfficientNetLite0:90")
# The backbone whose trained weights are there without a network. The features of an untrained one may be near zero,
# and the losses then are log(2) in every precision.
WEIGHTS = {"EfficientNetLite0": "imagenet"}


class Turns(keras.callbacks.Callback):
    """Notes the seconds of each epoch, and lets the next way train one before it goes on."""

    def __init__(self, mine: threading.Event, following: threading.Event, epochs: int) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._mine, self._following, self._epochs = mine, following, epochs

    def wait(self) -> None:
        self._mine.wait()
        self._mine.clear()
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.seconds.append(time.perf_counter() - self._started)
        self._following.set()
        if len(self.seconds) < self._epochs:
            self.wait()

    def give_up(self) -> None:
        """Take no more part, but let the others have their turns."""
        while len(self.seconds) < self._epochs:
            self.on_epoch_end(0)


def main() -> None:
    """Measure all ways of each job and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--job", nargs="+", default=JOBS, metavar="BACKBONE:LAYER")
    parser.add_argument("--precision", nargs="+", default=("float32", "bfloat16"))
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--images", type=int, default=320, help="photographs to train on")
    parser.add_argument("--learning-rate", type=float, default=1e-5, help="by default the tutorial's")
    parser.add_argument("--weights", help="weights of MobileNetV2 without its top")
    parser.add_argument("--alpha", type=float, default=1.0, help="width of MobileNetV2")
    parser.add_argument("--json")
    options = parser.parse_args()
    data = few(options.data, options.images)
    print("| job | way | computed in | s an epoch | times faster | first epoch, s | losses differ by |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    results = {}
    for job in options.job:
        ways = [(False, "float32"), *((True, precision) for precision in options.precision)]
        results[job] = measure(job, ways, data, options)
        for row in results[job]:
            middle, least, most = row["times_faster"]
            print(
                f"| {job} | {row['way']} | {row['computed_in']} | {row['seconds']:.2f} | {middle:.2f} "
                f"({least:.2f}..{most:.2f}) | {row['first']:.1f} | {row['difference']:.1e} |",
                flush=True,
            )
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=2)


def few(folder: str, count: int) -> object:
    """Return the data of `count` training photographs, evenly taken, and a quarter as many to validate."""
    found = tk.DatasetBuilder(folder, image_size=(160, 160), batch_size=32).build().splits["train"]
    places = np.linspace(0, len(found) - 1, min(len(found), count + count // 4)).astype(int)
    paths, labels = [found.paths[place] for place in places], [int(found.labels[place]) for place in places]
    return tk.DatasetBuilder((paths, labels), validation=0.2, image_size=(160, 160), batch_size=32).build()


def measure(
    job: str, ways: list[tuple[bool, str]], data: object, options: argparse.Namespace
) -> list[dict[str, object]]:
    """Train every way in a thread of its own, one of them at a time; return a row of figures for each."""
    name, _, layer = job.partition(":")
    epochs = options.epochs
    backbone = {"weights": WEIGHTS.get(name)}
    if name == "MobileNetV2":
        backbone = {"weights": options.weights, "alpha": options.alpha}
    events = [threading.Event() for _ in ways]
    turns = [Turns(event, events[(place + 1) % len(ways)], epochs) for place, event in enumerate(events)]
    trainers = [trainer_of(name, backbone, *way) for way in ways]

    def train(trainer: tk.Trainer, turn: Turns) -> list[float]:
        turn.wait()
        first = int(layer) if layer.isdigit() else layer
        try:
            how = {"learning_rate": options.learning_rate, "callbacks": [turn], "verbose": 0}
            return trainer.fine_tune(data, epochs, unfreeze_from=first, **how).history["loss"]
        finally:
            turn.give_up()

    with ThreadPoolExecutor(len(ways)) as pool:
        futures = [pool.submit(train, *pair) for pair in zip(trainers, turns)]
        events[0].set()
        losses = [future.result() for future in futures]
    return [
        {
            "way": "plain Keras" if not cache else f"ours, {precision}",
            "computed_in": trainer.history.phases[-1].precision,
            "seconds": statistics.median(turn.seconds[1:]),
            "times_faster": spread(np.divide(turns[0].seconds[1:], turn.seconds[1:])),
            "first": turn.seconds[0],
            "difference": float(np.abs(np.subtract(mine, losses[0])).max()),
            "losses": mine,
        }
        for (cache, precision), trainer, turn, mine in zip(ways, trainers, turns, losses)
    ]


def trainer_of(name: str, options: dict[str, object], cache: bool, precision: str) -> tk.Trainer:
    """Return a trainer of a new classifier; all have the same weights."""
    keras.utils.set_random_seed(0)
    backbone = tk.BackboneFactory.create(name, input_shape=(160, 160, 3), **options)
    model = tk.build_classifier(backbone, tk.ClassifierHead(2))
    return tk.Trainer(model, cache=cache, precision=precision)


def spread(ratios: np.ndarray) -> list[float]:
    """Return the median, the smallest and the largest."""
    return [float(np.median(ratios)), float(ratios.min()), float(ratios.max())]


if __name__ == "__main__":
    main()
