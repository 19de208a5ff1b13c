"""Predict one photo from the start of a process, with the runtimes and with TensorFlow: seconds and memory.

    python benchmarks/start_up.py --data IMAGES [--starts 10]

IMAGES is a folder with train/, with one folder per class. For each runtime, an environment of NumPy, Pillow, the
runtime and this package without its dependencies is made, which needs a package index; the last row is the Keras model
in the environment of this process. A start is a new process that imports, loads the classifier and predicts one photo.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime", "litert": "ai-edge-litert"}
PREDICT = r"""
import re, sys
import transferkit as tk
label = tk.load(sys.argv[1], engine=sys.argv[2]).predict(sys.argv[3]).label
# Not `getrusage`, whose peak includes that of the parent before it started this program.
peak = re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())
print(label, int(peak[1]) // 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    photo = next(path for path in sorted((options.data / "train").rglob("*")) if path.is_file())
    results = {}
    print("| backbone | engine | seconds, median | MB, median |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        programs = {name: make_environment(Path(folder, name), package) for name, package in PACKAGES.items()}
        programs["keras"] = sys.executable
        for backbone in ("EfficientNetLite0", "MobileNetV2"):
            saved = Path(folder, backbone)
            save_classifier(options.data, backbone, saved)
            for engine, python in programs.items():
                command = [python, "-c", PREDICT, str(saved), engine, str(photo)]
                runs = [measure(command, folder) for _ in range(options.starts)]
                seconds, megabytes = (statistics.median(values) for values in zip(*runs))
                results[f"{backbone}, {engine}"] = {"seconds": seconds, "megabytes": megabytes}
                print(f"| {backbone} | {engine} | {seconds:.2f} | {megabytes:.0f} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


def make_environment(folder: Path, package: str) -> str:
    """Return the Python of an environment without TensorFlow."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "numpy", "pillow", package], check=True)
    subprocess.run([*install, "--no-deps", str(REPOSITORY)], check=True)
    return python


def save_classifier(data: Path, backbone: str, folder: Path) -> None:
    """Write a classifier with a trained head, and its exported models for all runtimes."""
    import transferkit as tk

    weights = "imagenet" if backbone == "EfficientNetLite0" else None
    photos = tk.DatasetBuilder(data / "train", image_size=160, progress=False).build()
    created = tk.BackboneFactory.create(backbone, input_shape=(160, 160, 3), weights=weights)
    trainer = tk.Trainer(tk.build_classifier(created, tk.ClassifierHead(2)))
    trainer.fit(photos, epochs=1, verbose=0)
    trainer.save(folder, formats=list(PACKAGES))


def measure(command: list[str], folder: str) -> tuple[float, int]:
    """Return the seconds of a process and its peak memory in MB."""
    start = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    seconds = time.perf_counter() - start
    if result.returncode:
        raise SystemExit(result.stderr)
    return seconds, int(result.stdout.split()[-1])


if __name__ == "__main__":
    main()
