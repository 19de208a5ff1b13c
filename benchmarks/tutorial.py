"""The tutorial as published, in plain Keras, against transferkit: seconds from building the data to the end of `fit`.

    python benchmarks/tutorial.py --data PHOTOS [--alpha 0.35 --weights WEIGHTS.h5] [--repeat 3] [--json out.json]
    python benchmarks/tutorial.py --data PHOTOS --photographs 10000 --repeat 1

With --photographs, that many different ones are made out of those at hand by small crops. Every run is a process of its
own; the two sides take turns, so that a machine whose speed drifts is fair to both.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIDES = ("tutorial", "ours, all cold", "ours, engine converted", "ours, warm store")


def main() -> None:
    """Run the sides in turn and print their figures as ratios to the tutorial's."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="a folder with train/ and validation/")
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--weights", help="weights of MobileNetV2 without its top; random ones without it")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--photographs", type=int, help="how many to make out of those in --data; by default none")
    parser.add_argument("--no-augmentation", action="store_true")
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--side", choices=("tutorial", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(run_tutorial(options) if options.side == "tutorial" else run_ours(options)))
        return
    figures: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        photos = options.data
        if options.photographs:
            from photographs import repeated

            photos = str(repeated(Path(options.data), Path(folder) / "photographs", options.photographs))
        for turn in range(options.repeat):
            home = Path(folder) / f"home-{turn}"
            for side in SIDES:
                if side == "ours, engine converted":
                    forget_features(home)
                figures[side].append(in_a_process(side, home, photos))
    report(figures)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2))


def in_a_process(side: str, home: Path, photos: str) -> dict[str, float]:
    """Run one side in a process of its own and return its figures."""
    command = [sys.executable, __file__, *sys.argv[1:], "--data", photos, "--side", side.split(",")[0]]
    environment = {**os.environ, "TRANSFERKIT_HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode:
        raise SystemExit(result.stderr[-3000:])
    return json.loads(result.stdout.splitlines()[-1])


def forget_features(home: Path) -> None:
    """Take away what is known of the photographs, and leave the converted engine."""
    shutil.rmtree(home / "features", ignore_errors=True)
    for path in home.glob("files*"):
        path.unlink()


def report(figures: dict[str, list[dict[str, float]]]) -> None:
    """Print the medians, and the ratio of the tutorial's seconds to each side's, pair by pair."""
    print(f"{'':24} {'seconds':>8} {'times faster (min..max)':>26} {'cpu s':>7} {'MB':>6} {'accuracy':>9}")
    for side, runs in figures.items():
        ratios = [a["seconds"] / b["seconds"] for a, b in zip(figures["tutorial"], runs)]
        medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        spread = f"{statistics.median(ratios):.1f} ({min(ratios):.1f}..{max(ratios):.1f})"
        print(
            f"{side:24} {medians['seconds']:8.2f} {spread:>26} {medians['cpu']:7.1f} {medians['memory']:6.0f} "
            f"{medians['accuracy']:9.4f}"
        )


def measured(started: tuple[float, float], accuracy: float) -> dict[str, float]:
    """Return the figures of a run that ended now."""
    return {
        "seconds": time.perf_counter() - started[0],
        "cpu": time.process_time() - started[1],
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "accuracy": accuracy,
    }


def build_base(options: argparse.Namespace) -> object:
    """Build MobileNetV2 with the weights given; reading them is no part of what is measured."""
    import keras

    keras.utils.set_random_seed(0)
    base = keras.applications.MobileNetV2((160, 160, 3), alpha=options.alpha, include_top=False, weights=None)
    if options.weights:
        base.load_weights(options.weights)
    return base


def run_tutorial(options: argparse.Namespace) -> dict[str, float]:
    """Train as the tutorial does."""
    import keras
    import tensorflow as tf

    base = build_base(options)
    started = time.perf_counter(), time.process_time()
    sets = {}
    for name in ("train", "validation"):
        folder = os.path.join(options.data, name)
        loaded = keras.utils.image_dataset_from_directory(folder, batch_size=32, image_size=(160, 160), verbose=False)
        sets[name] = loaded.prefetch(tf.data.AUTOTUNE)
    base.trainable = False
    inputs = x = keras.Input((160, 160, 3))
    if not options.no_augmentation:
        layers = [keras.layers.RandomFlip("horizontal"), keras.layers.RandomRotation(0.2)]
        x = keras.Sequential(layers)(x)
    x = keras.applications.mobilenet_v2.preprocess_input(x)
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Dropout(0.2)(x)))
    model.compile(
        keras.optimizers.Adam(1e-4),
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0, name="accuracy")],
    )
    history = model.fit(sets["train"], epochs=options.epochs, validation_data=sets["validation"], verbose=0)
    return measured(started, history.history["val_accuracy"][-1])


def run_ours(options: argparse.Namespace) -> dict[str, float]:
    """Train the same with transferkit."""
    import transferkit as tk

    tk.Trainer, tk.DatasetBuilder, tk.BackboneFactory, tk.build_classifier  # noqa: B018 - imports are not counted
    base = build_base(options)
    started = time.perf_counter(), time.process_time()
    data = tk.DatasetBuilder(options.data, image_size=(160, 160), batch_size=32).build()
    backbone = tk.BackboneFactory.create(base, preprocessing="tf")
    augmentation = None if options.no_augmentation else tk.AugmentationBlock(flip="horizontal", rotation=0.2)
    model = tk.build_classifier(backbone, tk.ClassifierHead(data.num_classes), augmentation=augmentation)
    history = tk.Trainer(model, learning_rate=1e-4).fit(data, epochs=options.epochs, verbose=0)
    return measured(started, history.history["val_accuracy"][-1])


if __name__ == "__main__":
    main()
