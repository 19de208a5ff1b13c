"""The transfer learning tutorial in plain Keras and with transferkit: seconds from building the data to the end of fit.

    python benchmarks/tutorial.py --data IMAGES [--alpha 0.35 --weights WEIGHTS.h5] [--repeat 3] [--json out.json]
    python benchmarks/tutorial.py --data IMAGES --images-total 10000 --repeat 1

With --images-total, that many different images are generated from the given ones by random crops. Every run is a
separate process. The variants run alternately, so that a change in the speed of the machine affects all of them.
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

VARIANTS = (
    "plain Keras",
    "transferkit, empty cache",
    "transferkit, engine cached",
    "transferkit, features cached",
)


def main() -> None:
    """Run the variants alternately and print their results as ratios to plain Keras."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with train/ and validation/")
    parser.add_argument("--alpha", type=float, default=1.0, help="width multiplier of MobileNetV2")
    parser.add_argument("--weights", help="weights file of MobileNetV2 without its top (default: random weights)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=3, help="number of rounds")
    parser.add_argument("--images-total", type=int, help="number of images to generate from --data (default: none)")
    parser.add_argument("--no-augmentation", action="store_true")
    parser.add_argument("--json", help="output file for the results")
    parser.add_argument("--run", choices=("plain Keras", "transferkit"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(run_keras(options) if options.run == "plain Keras" else run_transferkit(options)))
        return
    results: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
        images = options.data
        if options.images_total:
            from image_copies import generate_crops

            images = str(generate_crops(Path(options.data), Path(folder) / "images", options.images_total))
        for index in range(options.repeat):
            home = Path(folder) / f"home-{index}"
            for variant in VARIANTS:
                if variant == "transferkit, engine cached":
                    delete_features(home)
                results[variant].append(run_process(variant, home, images))
    print_table(results)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2))


def run_process(variant: str, home: Path, images: str) -> dict[str, float]:
    """Run one variant in a separate process and return its results."""
    command = [sys.executable, __file__, *sys.argv[1:], "--data", images, "--run", variant.split(",")[0]]
    environment = {**os.environ, "TRANSFERKIT_HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode:
        raise SystemExit(result.stderr[-3000:])
    return json.loads(result.stdout.splitlines()[-1])


def delete_features(home: Path) -> None:
    """Delete features and file metadata; the converted engine stays."""
    shutil.rmtree(home / "features", ignore_errors=True)
    for path in home.glob("files*"):
        path.unlink()


def print_table(results: dict[str, list[dict[str, float]]]) -> None:
    """Print the medians, and the speedup over plain Keras within each round."""
    print(f"{'':28} {'seconds':>8} {'speedup (min..max)':>20} {'CPU s':>7} {'MB':>6} {'accuracy':>9}")
    for variant, runs in results.items():
        ratios = [keras["seconds"] / run["seconds"] for keras, run in zip(results["plain Keras"], runs)]
        medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        speedup = f"{statistics.median(ratios):.1f} ({min(ratios):.1f}..{max(ratios):.1f})"
        print(
            f"{variant:28} {medians['seconds']:8.2f} {speedup:>20} {medians['cpu']:7.1f} {medians['memory']:6.0f} "
            f"{medians['accuracy']:9.4f}"
        )


def resources_since(started: tuple[float, float], accuracy: float) -> dict[str, float]:
    """Return the results of a run that ends now."""
    return {
        "seconds": time.perf_counter() - started[0],
        "cpu": time.process_time() - started[1],
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "accuracy": accuracy,
    }


def build_base(options: argparse.Namespace) -> object:
    """Build MobileNetV2 with the given weights; this is not part of the measured time."""
    import keras

    keras.utils.set_random_seed(0)
    base = keras.applications.MobileNetV2((160, 160, 3), alpha=options.alpha, include_top=False, weights=None)
    if options.weights:
        base.load_weights(options.weights)
    return base


def run_keras(options: argparse.Namespace) -> dict[str, float]:
    """Train as in the tutorial."""
    import keras
    import tensorflow as tf

    base = build_base(options)
    started = time.perf_counter(), time.process_time()
    datasets = {}
    for name in ("train", "validation"):
        folder = os.path.join(options.data, name)
        loaded = keras.utils.image_dataset_from_directory(folder, batch_size=32, image_size=(160, 160), verbose=False)
        datasets[name] = loaded.prefetch(tf.data.AUTOTUNE)
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
    history = model.fit(datasets["train"], epochs=options.epochs, validation_data=datasets["validation"], verbose=0)
    return resources_since(started, history.history["val_accuracy"][-1])


def run_transferkit(options: argparse.Namespace) -> dict[str, float]:
    """Train the same classifier with transferkit."""
    import transferkit as tk

    # Public names load their modules on first use; loading is not part of the measured time.
    tk.Trainer, tk.DatasetBuilder, tk.BackboneFactory, tk.build_classifier  # noqa: B018
    base = build_base(options)
    started = time.perf_counter(), time.process_time()
    data = tk.DatasetBuilder(options.data, image_size=(160, 160), batch_size=32).build()
    backbone = tk.BackboneFactory.create(base, preprocessing="tf")
    augmentation = None if options.no_augmentation else tk.AugmentationBlock(flip="horizontal", rotation=0.2)
    model = tk.build_classifier(backbone, tk.ClassifierHead(data.num_classes), augmentation=augmentation)
    history = tk.Trainer(model, learning_rate=1e-4).fit(data, epochs=options.epochs, verbose=0)
    return resources_since(started, history.history["val_accuracy"][-1])


if __name__ == "__main__":
    main()
