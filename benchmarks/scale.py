"""Whether time grows in proportion to the number of photographs, and memory not at all: 1,000 to 100,000 of them.

    python benchmarks/scale.py --data PHOTOS [--counts 1000 10000 100000] [--weights WEIGHTS.h5] [--json out.json]

For each number, that many different photographs are made out of those in PHOTOS (a folder with train/ and
validation/). One process builds the data set, runs the frozen backbone, trains the head for ten epochs, and then solves
for it (`solver="lbfgs"`); a second one does the same again with what the first has stored. Memory is the highest that
the process had by the end of a step.
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
    """Measure each number of photographs, each run in a process of its own, and print a table."""
    options = arguments().parse_args()
    if options.photographs:
        print(json.dumps(measure(options)))
        return
    from photographs import repeated

    figures = []
    print(f"{'photographs':>11} {'run':>5}" + "".join(f"{name:>11} {'images/s':>9} {'MB':>6}" for name in STEPS))
    for count in options.counts:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            photos = repeated(Path(options.data), Path(folder) / "photographs", count, size=options.photograph_size)
            for run in ("cold", "warm"):
                figures.append({"count": count, "run": run, **in_a_process(photos, Path(folder) / "home")})
                show(figures[-1])
    report(figures)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2))


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="a folder with train/ and validation/")
    parser.add_argument("--counts", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--photograph-size", type=int, default=128, help="longer side of the photographs, in pixels")
    parser.add_argument("--backbone", default="MobileNetV2", help="a name of keras.applications")
    parser.add_argument("--alpha", type=float, help="width of the backbone; 0.35 for MobileNetV2")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--weights", help="weights of the backbone without its top; random ones without it")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--feature-dtype", default="float32")
    parser.add_argument("--folder", help="where photographs and features go for the time being")
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--photographs", help=argparse.SUPPRESS)
    return parser


def in_a_process(photos: Path, home: Path) -> dict[str, float]:
    """Run `measure` in a process of its own and return its figures."""
    environment = {**os.environ, "TRANSFERKIT_HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, *sys.argv[1:], "--photographs", str(photos)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode:
        raise SystemExit(result.stderr[-3000:])
    return json.loads(result.stdout.splitlines()[-1])


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Do the whole frozen job once; return seconds and memory of each step."""
    import keras

    import transferkit as tk

    keras.utils.set_random_seed(0)
    width = {"alpha": options.alpha or 0.35} if options.backbone == "MobileNetV2" or options.alpha else {}
    network = getattr(keras.applications, options.backbone)
    shape = (options.image_size, options.image_size, 3)
    base = network(input_shape=shape, include_top=False, weights=options.weights, **width)
    backbone = tk.BackboneFactory.create(base, preprocessing="tf")
    steps = Steps()
    photos = Path(options.photographs)
    data = tk.DatasetBuilder(photos / "train", validation=photos / "validation", image_size=shape[:2]).build()
    steps.end("build")
    trainer = tk.Trainer(
        tk.build_classifier(backbone, tk.ClassifierHead(data.num_classes)),
        learning_rate=1e-3,
        engine=options.engine,
        feature_dtype=options.feature_dtype,
    )
    began = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: steps.end("extract"))
    history = trainer.fit(data, epochs=options.epochs, callbacks=[began], verbose=0)
    steps.end("fit")
    solved = trainer.fit(data, solver="lbfgs")
    steps.end("solve")
    accuracies = {"accuracy": history.history["val_accuracy"][-1], "solved": solved.history["val_accuracy"][-1]}
    return {**steps.figures, **accuracies}


class Steps:
    """Seconds of each step, and the highest memory by its end in megabytes."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}
        self._began = time.perf_counter()

    def end(self, name: str) -> None:
        """Take down the figures of the step that ends now."""
        now = time.perf_counter()
        self.figures[name] = now - self._began
        self.figures[f"{name}_memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self._began = now


def show(row: dict) -> None:
    """Print one run; images a second are photographs in a second of the step, whatever the number of epochs."""
    line = f"{row['count']:11,} {row['run']:>5}"
    for name in STEPS:
        line += f"{row[name]:9.2f} s {row['count'] / row[name]:9.0f} {row[f'{name}_memory']:6.0f}"
    print(line, flush=True)


def report(figures: list[dict]) -> None:
    """Print how seconds and memory of each number of photographs compare to those of the number before."""
    for run in ("cold", "warm"):
        rows = [row for row in figures if row["run"] == run]
        for few, many in itertools.pairwise(rows):
            seconds = sum(many[name] for name in STEPS) / sum(few[name] for name in STEPS)
            memory = many["solve_memory"] / few["solve_memory"]
            print(f"{run}, {many['count']:,} to {few['count']:,}: seconds x {seconds:.1f}, memory x {memory:.2f}")


if __name__ == "__main__":
    main()
