"""A complete run in a fresh process sends nothing, forks no process and writes nothing into the home folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.packages import skip_without

# Programs that other packages start to read facts about the machine: its processor, and its fonts for Matplotlib.
_LOCAL_PROGRAMS = ("uname", "fc-list", "lscpu", "system_profiler")
_PROGRAM = """
import json, os, socket, subprocess, sys

calls = []


def record(owner, name):
    original = getattr(owner, name)

    def recorded(*arguments, **options):
        calls.append([name, str(arguments[-1:])])
        return original(*arguments, **options)

    setattr(owner, name, recorded)


record(socket.socket, "connect")
record(socket.socket, "sendto")
record(socket, "getaddrinfo")
record(os, "fork")
record(subprocess.Popen, "__init__")

import keras
import numpy as np
from PIL import Image

for label in ("cats", "dogs"):
    os.makedirs(f"photos/{label}")
    for number in range(8):
        pixels = np.random.default_rng([number, label == "cats"]).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(f"photos/{label}/{number}.png")

import transferkit as tk

data = tk.DatasetBuilder("photos", image_size=32, validation=0.25, batch_size=4, progress=False).build()
network = keras.Sequential(
    [keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, strides=2), keras.layers.GlobalAveragePooling2D()]
)
backbone = tk.BackboneFactory.create(network, preprocessing="tf")
classifier = tk.build_classifier(backbone, tk.ClassifierHead(2))
trainer = tk.Trainer(classifier, engine="openvino")
trainer.fit(data, epochs=1, verbose=0)
before = trainer.predict("photos")
after = tk.load(trainer.save("saved"), engine="openvino").predict("photos")
for precision in ("float32", "int8"):
    options = {"precision": precision, "min_label_agreement": 0.0}
    options |= {"calibration": data} if precision == "int8" else {}
    tk.export(trainer, "model.onnx", **options)
    tk.export(trainer, "model.tflite", **options)
    tk.export(trainer, "model", format="openvino", **options)
    tk.load("model.onnx").predict("photos")
print(json.dumps({"calls": calls, "equal": [one.label for one in before] == [one.label for one in after],
                  "openvino": "openvino" in sys.modules}))
"""


def is_local_program(function: str, arguments: str) -> bool:
    return function == "__init__" and arguments.startswith(tuple(f"(['{name}'" for name in _LOCAL_PROGRAMS))


def test_complete_run_sends_nothing_and_leaves_home_empty(tmp_path: Path) -> None:
    skip_without("openvino")
    home, others = tmp_path / "home", tmp_path / "others"
    home.mkdir()
    others.mkdir()
    folders = {"TRANSFERKIT_HOME": "cache", "KERAS_HOME": "keras", "MPLCONFIGDIR": "matplotlib"}
    variables = {name: str(others / folder) for name, folder in folders.items()}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=others,
        env={**kept, **variables, "HOME": str(home), "USERPROFILE": str(home)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["equal"] and found["openvino"]
    assert [call for call in found["calls"] if not is_local_program(*call)] == []
    assert [path for path in home.rglob("*") if path.is_file()] == []
