"""Run all benchmarks: `python benchmarks --data IMAGES [--weights WEIGHTS.h5 --alpha 0.35]`.

Each prints a table and writes its results as JSON to --output. All of them take one to two hours on two cores. To run
some only, give their names: `python benchmarks --data IMAGES engines fine_tune`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Run the selected benchmarks, each in a separate process."""
    jobs = commands([])
    parser = argparse.ArgumentParser(prog="python benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder with train/ and validation/")
    parser.add_argument("--weights", help="weights file of MobileNetV2 without its top (default: random weights)")
    parser.add_argument("--alpha", default="1.0", help="width multiplier of the MobileNetV2 in --weights")
    parser.add_argument("--fastai", help="Python of an environment with fastai, for peers (default: without fastai)")
    parser.add_argument("--output", type=Path, default=Path("output"), help="folder for the JSON files")
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of {', '.join(jobs)} (default: all)")
    options = parser.parse_args()
    weights = ["--weights", os.path.abspath(options.weights), "--alpha", options.alpha] if options.weights else []
    jobs = commands(weights)
    if options.fastai:
        jobs["peers"] += ["--fastai", os.path.abspath(options.fastai)]
    unknown = sorted(set(options.names) - set(jobs))
    if unknown:
        parser.error(f"names must be any of {', '.join(jobs)}. Received: {', '.join(unknown)}.")
    options.output.mkdir(parents=True, exist_ok=True)
    failed = []
    for name, (script, *arguments) in jobs.items():
        if not options.names or name in options.names:
            print(f"\n## {name}\n", flush=True)
            command = [sys.executable, str(HERE / script), "--data", str(options.data), *arguments]
            command += ["--json", str(options.output / f"{name}.json")]
            if subprocess.run(command).returncode:
                failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def commands(weights: list[str]) -> dict[str, list[str]]:
    """Return a dict from the name of each benchmark to its script and arguments."""
    jobs = {
        "tutorial": ["tutorial.py"],
        "tutorial-10000": ["tutorial.py", "--images-total", "10000", "--repeat", "1"],
        "peers": ["peers.py"],
        "engines": ["engines.py"],
        "fine_tune": ["fine_tune.py"],
        "augmented_views": ["augmented_views.py"],
        "precision": ["precision.py", *weights],
        "scale": ["scale.py", *weights],
        "decode": ["decode.py"],
        "heat_maps": ["heat_maps.py"],
        "serving": ["serving.py"],
        "resizing": ["resizing.py"],
        "start_up": ["start_up.py"],
    }
    if weights:
        mobilenet = ["--backbone", "MobileNetV2", "--image-size", "160"]
        jobs["tutorial-weights"] = ["tutorial.py", *weights]
        jobs["augmented_views-weights"] = ["augmented_views.py", *mobilenet, *weights]
    return jobs


if __name__ == "__main__":
    main()
