"""Time and memory of training with a frozen backbone for 1,000 to 100,000 images.

    python benchmarks/scale.py --data IMAGES [--counts 1000 10000 100000] [--weights WEIGHTS.h5] [--json out.json]

Time should grow in proportion to the number of images, memory not at all. For each count, that many different images
are generated from those in IMAGES (a folder with train/ and validation/). One process builds the dataset, extracts the
features, trains the head for ten epochs and then solves for it (`solver="lbfgs"`); a second process repeats this with
the cache of the first. Memory is the peak of the process up to the end of a step.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = ("build", "extract", "fit", "solve")


def main() -> None:
    """Measure each count, each run in a separate process, and print a table."""
    options = build_parser().parse_args()
    if options.images_folder:
        print(json.dumps(measure(options)))
        return
    from image_copies import generate_crops

    rows = []
    print(f"{'images':>11} {'run':>5}" + "".join(f"{name:>11} {'images/s':>9} {'MB':>6}" for name in STEPS))
    for count in options.counts:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            images = generate_crops(Path(options.data), Path(folder) / "images", count, size=options.source_size)
            for run in ("cold", "warm"):
                rows.append({"count": count, "run": run, **run_process(images, Path(folder) / "home")})
                print_row(rows[-1])
    print_growth(rows)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with train/ and validation/")
    parser.add_argument("--counts", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--source-size", type=int, default=128, help="longer side of the generated files in pixels")
    parser.add_argument("--backbone", default="MobileNetV2", help="name in keras.applications")
    parser.add_argument("--alpha", type=float, help="width multiplier (default: 0.35 for MobileNetV2)")
    parser.add_argument("--image-size", type=int, default=96, help="input side of the backbone in pixels")
    parser.add_argument("--weights", help="weights file of the backbone without its top (default: random weights)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--feature-dtype", default="float32")
    parser.add_argument("--folder", help="parent folder of the temporary images and features")
    parser.add_argument("--json", help="output file for the results")
    parser.add_argument("--images-folder", help=argparse.SUPPRESS)
    return parser


def run_process(images: Path, home: Path) -> dict[str, float]:
    """Run `measure` in a separate process and return its results."""
    environment = {**os.environ, "TRANSFERKIT_HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, *sys.argv[1:], "--images-folder", str(images)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode:
        raise SystemExit(result.stderr[-3000:])
    return json.loads(result.stdout.splitlines()[-1])


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Run all steps once; return seconds and memory of each."""
    import keras

    import transferkit as tk

    keras.utils.set_random_seed(0)
    width = {"alpha": options.alpha or 0.35} if options.backbone == "MobileNetV2" or options.alpha else {}
    constructor = getattr(keras.applications, options.backbone)
    shape = (options.image_size, options.image_size, 3)
    base = constructor(input_shape=shape, include_top=False, weights=options.weights, **width)
    backbone = tk.BackboneFactory.create(base, preprocessing="tf")
    images = Path(options.images_folder)
    recorder = StepRecorder()
    data = tk.DatasetBuilder(images / "train", validation=images / "validation", image_size=shape[:2]).build()
    recorder.end("build")
    trainer = tk.Trainer(
        tk.build_classifier(backbone, tk.ClassifierHead(data.num_classes)),
        learning_rate=1e-3,
        engine=options.engine,
        feature_dtype=options.feature_dtype,
    )
    started = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: recorder.end("extract"))
    history = trainer.fit(data, epochs=options.epochs, callbacks=[started], verbose=0)
    recorder.end("fit")
    solved = trainer.fit(data, solver="lbfgs")
    recorder.end("solve")
    accuracies = {"accuracy": history.history["val_accuracy"][-1], "solved": solved.history["val_accuracy"][-1]}
    return {**recorder.results, **accuracies}


class StepRecorder:
    """Seconds of each step, and peak memory of the process at its end in megabytes."""

    def __init__(self) -> None:
        self.results: dict[str, float] = {}
        self._started = time.perf_counter()

    def end(self, name: str) -> None:
        """Record the step that ends now."""
        now = time.perf_counter()
        self.results[name] = now - self._started
        self.results[f"{name}_memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self._started = now


def print_row(row: dict) -> None:
    """Print one run; images/s is the count divided by the seconds of the step, for any number of epochs."""
    line = f"{row['count']:11,} {row['run']:>5}"
    for name in STEPS:
        line += f"{row[name]:9.2f} s {row['count'] / row[name]:9.0f} {row[f'{name}_memory']:6.0f}"
    print(line, flush=True)


def print_growth(rows: list[dict]) -> None:
    """Print seconds and memory of each count relative to the count before."""
    for run in ("cold", "warm"):
        selected = [row for row in rows if row["run"] == run]
        for small, large in itertools.pairwise(selected):
            seconds = sum(large[name] for name in STEPS) / sum(small[name] for name in STEPS)
            memory = large["solve_memory"] / small["solve_memory"]
            print(
                f"{run}, {large['count']:,} / {small['count']:,} images: seconds x {seconds:.1f}, memory x {memory:.2f}"
            )


if __name__ == "__main__":
    main()
