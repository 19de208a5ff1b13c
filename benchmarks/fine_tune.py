"""Seconds an epoch of fine-tuning, ordinary Keras training against training above the freeze boundary.

    python benchmarks/fine_tune.py --data PHOTOS [--backbone MobileNetV2] [--from-layers 100 124] [--json out.json]

The first epoch, with tracing and (on our side) the run of the lower part, is left out of the figures and given beside.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TRANSFERKIT_HOME"] = tempfile.mkdtemp()

import keras
import numpy as np

import transferkit as tk


class Clock(keras.callbacks.Callback):
    """Notes the time at the end of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.times = [time.perf_counter()]

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.times.append(time.perf_counter())


def main() -> None:
    """Measure both ways from each layer and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--backbone", default="MobileNetV2")
    parser.add_argument("--from-layers", nargs="*", default=["100", "124"])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--json")
    options = parser.parse_args()
    data = tk.DatasetBuilder(options.data, image_size=(160, 160), batch_size=32).build()
    rows = []
    for layer in options.from_layers:
        first = int(layer) if layer.isdigit() else layer
        plain, ours = (measure(data, options, first, cache) for cache in (False, True))
        difference = float(np.abs(np.subtract(plain["losses"], ours["losses"])).max())
        ratio = plain["epoch"] / ours["epoch"]
        rows.append({"from": layer, "plain": plain, "ours": ours, "ratio": ratio, "difference": difference})
        print(
            f"{options.backbone} from {layer}: plain {plain['epoch']:.2f} s an epoch, ours {ours['epoch']:.2f} s, "
            f"{ratio:.1f} times faster; first epoch {plain['first']:.1f} s and {ours['first']:.1f} s; "
            f"losses differ by {difference:.1e}"
        )
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=2)


def measure(data: object, options: argparse.Namespace, first: int | str, cache: bool) -> dict[str, object]:
    """Return the median seconds of an epoch after the first, and the losses."""
    keras.utils.set_random_seed(0)
    backbone = tk.BackboneFactory.create(options.backbone, input_shape=(160, 160, 3), weights=None)
    trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(2)), learning_rate=1e-4, cache=cache)
    clock = Clock()
    history = trainer.fine_tune(data, epochs=options.epochs, unfreeze_from=first, callbacks=[clock], verbose=0)
    spans = np.diff(clock.times)
    return {"epoch": statistics.median(spans[1:]), "first": float(spans[0]), "losses": history.history["loss"]}


if __name__ == "__main__":
    main()
