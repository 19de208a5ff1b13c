"""Train, calibrate, export to ONNX, predict without TensorFlow, and serve over HTTP.

    python examples/export_and_serve.py        # needs: pip install "transferkit[offline,onnx,serve]"

Output is written to output/export_and_serve/. The server listens on a free port of this machine, answers one request,
and is stopped. --quick uses fewer images.

Accuracy on 100 synthetic test images: 1.0; largest difference of probabilities in ONNX Runtime: 2.2e-6.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

# TensorFlow reads this variable at import: print errors only.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import transferkit as tk

OUTPUT = Path("output/export_and_serve")


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="use 100 images instead of 500")
    options = parser.parse_args()
    counts = {"training": 80, "validation": 20} if options.quick else {"training": 400, "validation": 100}
    folder = tk.datasets.synthetic_cats_and_dogs(OUTPUT / f"images_{counts['training']}", **counts)
    data = tk.DatasetBuilder(folder / "train", validation=0.2, test=folder / "validation", image_size=96).build()
    backbone = tk.BackboneFactory.create("EfficientNetLite0", input_shape=(96, 96, 3))
    trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(data.num_classes)))
    trainer.fit(data, epochs=20)
    trainer.calibrate(data)
    report = trainer.evaluate(data.test)
    print(report)
    classifier = trainer.save(OUTPUT / "cats_dogs", report=report, formats=["onnx"])
    print(tk.export(trainer, OUTPUT / "cats_dogs.onnx", images=data))

    photo = data.files["test"][0]
    print("ONNX Runtime:", tk.load(classifier, engine="onnx").predict(photo))
    print("Server:", ask_server(classifier, photo))


def ask_server(classifier: Path, photo: str) -> dict[str, object]:
    """Start a server, send a photo, stop the server, and return its response."""
    command = [sys.executable, "-m", "transferkit", "serve", str(classifier), "--engine", "onnx", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        address = next(found[0] for line in server.stderr if (found := re.search(r"http://[\d.:]+", line)))
        request = urllib.request.Request(f"{address}/v1/predict", Path(photo).read_bytes())
        request.add_header("Content-Type", "image/jpeg")
        with urllib.request.urlopen(request, timeout=60) as response:
            result = json.load(response)
        server.terminate()
        # Its last log lines are read, so that it never waits for its reader.
        server.communicate(timeout=60)
    return result


if __name__ == "__main__":
    main()
