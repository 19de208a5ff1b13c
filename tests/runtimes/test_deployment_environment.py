"""The deployment image: a wheel installed with `--no-deps`, NumPy, Pillow and one runtime, without TensorFlow."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import venv
from pathlib import Path

import httpx
import numpy as np
import pytest

import transferkit as tk
from tests.waiting import TIMEOUT
from transferkit._utils.hashing import content_hash
from transferkit.images.loading import load_images, stack_images

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "examples" / "deployment" / "Dockerfile"
PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime", "litert": "ai-edge-litert"}
PREDICT = """
import importlib.util, json, sys
import numpy as np
import transferkit as tk
from transferkit._utils.hashing import content_hash
from transferkit.images.loading import load_images, stack_images

folder, engine, photos, probabilities = sys.argv[1:]
assert all(importlib.util.find_spec(name) is None for name in ("tensorflow", "keras", "matplotlib"))
paths = sorted(map(str, __import__("pathlib").Path(photos).rglob("*.jpg")))
predictor = tk.load(folder, engine=engine)
predictions = predictor.predict(paths)
np.save(probabilities, np.stack([one.probability_array for one in predictions]))
pixels = [content_hash(stack_images(load_images([path], predictor.image_spec)).tobytes()).hex() for path in paths]
print(json.dumps({
    "paths": paths,
    "labels": [one.label for one in predictions],
    "sets": [list(one.label_set) for one in predictions],
    "in_distribution": [one.in_distribution for one in predictions],
    "pixels": pixels,
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(REPOSITORY),
    ]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def saved(photos: Path, mobilenet_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated classifier of cats and dogs with exported models for all runtimes."""
    data = tk.DatasetBuilder(photos / "train", validation=0.2, image_size=160, progress=False).build()
    backbone = tk.BackboneFactory.create(
        "MobileNetV2", input_shape=(160, 160, 3), alpha=0.35, weights=mobilenet_weights
    )
    trainer = tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(2)))
    trainer.fit(data, epochs=5, verbose=0)
    trainer.calibrate(data, coverage=0.9)
    folder = tmp_path_factory.mktemp("saved") / "classifier"
    trainer.save(folder, formats=list(PACKAGES))
    return folder


def make_environment(folder: Path, wheel: Path, packages: list[str]) -> Path:
    """Return the folder with the programs of an environment of these packages and the wheel."""
    venv.create(folder, with_pip=True)
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *packages], check=True)
    subprocess.run([*install, "--no-deps", str(wheel)], check=True)
    return folder / "bin"


@pytest.mark.slow
@pytest.mark.parametrize("engine", PACKAGES)
def test_predictions_without_tensorflow(engine: str, wheel: Path, saved: Path, photos: Path, tmp_path: Path) -> None:
    programs = make_environment(tmp_path / "environment", wheel, ["numpy", "pillow", PACKAGES[engine]])
    arguments = [str(saved), engine, str(photos), str(tmp_path / "probabilities.npy")]
    command = [str(programs / "python"), "-c", PREDICT, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert len(found["paths"]) == 1000
    predictor = tk.load(saved, engine="keras")
    expected = predictor.predict(found["paths"])
    images = load_images(found["paths"], predictor.image_spec)
    assert found["pixels"] == [content_hash(stack_images([image]).tobytes()).hex() for image in images]
    assert found["labels"] == [one.label for one in expected]
    assert found["sets"] == [list(one.label_set) for one in expected]
    assert found["in_distribution"] == [one.in_distribution for one in expected]
    probabilities = np.stack([one.probability_array for one in expected])
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), probabilities, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_server_of_dockerfile(wheel: Path, saved: Path, photos: Path, tmp_path: Path) -> None:
    """The packages and the command of the Dockerfile, in an environment instead of a container."""
    text = DOCKERFILE.read_text()
    packages = re.search(r"^RUN pip install --no-cache-dir (numpy .*)$", text, re.MULTILINE)
    assert packages and "RUN pip install --no-cache-dir --no-deps transferkit\n" in text
    programs = make_environment(tmp_path / "environment", wheel, shlex.split(packages[1]))
    command = json.loads(re.search(r"^CMD (.*)$", text, re.MULTILINE)[1])
    command = [str(saved) if word == "/models/cats_dogs" else word for word in command]
    command = [str(programs / command[0]), *command[1:], "--host", "127.0.0.1", "--port", "0"]
    environment = {**os.environ, "HOME": "/nonexistent", "PATH": str(programs)}
    path = sorted((photos / "validation").rglob("*.jpg"))[0]
    expected = tk.load(saved, engine="keras").predict(path)
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        lines: list[str] = []
        for line in server.stderr:
            lines.append(line)
            if port := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                break
        assert port, "".join(lines)
        with httpx.Client(base_url=f"http://127.0.0.1:{port[1]}", trust_env=False, timeout=TIMEOUT) as client:
            assert client.get("/v2/health/ready").status_code == 200
            answer = client.post("/v1/predict", files={"image": path.read_bytes()})
            assert answer.json()["label"] == expected.label
            assert answer.json()["probabilities"] == pytest.approx(expected.probabilities, abs=1e-5)
            assert len(client.post("/v1/embed", files={"image": path.read_bytes()}).json()["embedding"]) == 1280
            # Heat maps require the Keras model.
            assert client.post("/v1/explain", files={"image": path.read_bytes()}).status_code == 501
        server.send_signal(signal.SIGTERM)
        assert server.wait(TIMEOUT) == 0, server.stderr.read()
