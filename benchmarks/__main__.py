"""All benchmarks, one after another: `python benchmarks --data PHOTOS [--weights WEIGHTS.h5 --alpha 0.35]`.

Each prints its table and writes its figures as JSON into --output. It takes one to two hours on two cores; give names
to run only some: `python benchmarks --data PHOTOS engines fine_tune`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
WEIGHTS = "weights of MobileNetV2 without its top; random ones without it"


def main() -> None:
    """Run the benchmarks that are asked for, each in a process of its own."""
    jobs = commands([])
    parser = argparse.ArgumentParser(prog="python benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="a folder with train/ and validation/")
    parser.add_argument("--weights", help=WEIGHTS)
    parser.add_argument("--alpha", default="1.0", help="width of the MobileNetV2 of those weights")
    parser.add_argument("--output", type=Path, default=Path("output"), help="folder for the JSON files")
    parser.add_argument("names", nargs="*", metavar="name", help=f"some of {', '.join(jobs)}; by default all")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(jobs))
    if unknown:
        parser.error(f"names must be some of {', '.join(jobs)}. Received: {', '.join(unknown)}.")
    options.output.mkdir(parents=True, exist_ok=True)
    weights = ["--weights", os.path.abspath(options.weights), "--alpha", options.alpha] if options.weights else []
    failed = []
    for name, (script, *arguments) in commands(weights).items():
        if not options.names or name in options.names:
            print(f"\n## {name}\n", flush=True)
            command = [sys.executable, str(HERE / script), "--data", str(options.data), *arguments]
            if script != "decode.py":
                command += ["--json", str(options.output / f"{name}.json")]
            if subprocess.run(command).returncode:
                failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def commands(weights: list[str]) -> dict[str, list[str]]:
    """Return the name of each benchmark with its script and arguments."""
    jobs = {
        "tutorial": ["tutorial.py"],
        "tutorial-10000": ["tutorial.py", "--photographs", "10000", "--repeat", "1"],
        "engines": ["engines.py"],
        "fine_tune": ["fine_tune.py"],
        "views": ["views.py"],
        "precision": ["precision.py", *weights],
        "scale": ["scale.py", *weights],
        "decode": ["decode.py"],
    }
    if weights:
        jobs["tutorial-weights"] = ["tutorial.py", *weights]
        jobs["views-weights"] = ["views.py", "--backbone", "MobileNetV2", "--image-size", "160", *weights]
    return jobs


if __name__ == "__main__":
    main()
