"""The programs in examples/consumers predict as Keras does, in processes without transferkit and TensorFlow.

Those in C++, Node and a browser are slow: `python -m pytest -m slow tests/exporting/test_consumers.py`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.exporting.conftest import NAMES, SIZE, make_predictor
from tests.exporting.javascript import EXAMPLES, install, node, open_page, run_node
from tests.waiting import TIMEOUT
from transferkit.calibration import Calibration
from transferkit.images import load_image

PROGRAMS = {"litert": "predict_litert.py", "onnx": "predict_onnx.py", "openvino": "predict_openvino.py"}
FORMATS = {"litert": "tflite", "onnx": "onnx", "openvino": "folder"}
HIDDEN = ("transferkit", "tensorflow", "keras")
# Decoders of other languages have the same pixels at full size; the sizes into which training decodes differ.
SPEC = tk.ImageSpec((SIZE, SIZE), full_decode=True)
Expected = dict[Path, tuple[str, float]]


def make_classifier(spec: tk.ImageSpec = SPEC) -> tk.Predictor:
    calibration = Calibration(temperature=0.5, coverage=0.9, set_threshold=0.2, num_images=50)
    return tk.Predictor(make_predictor().model, NAMES, spec, activation="softmax", calibration=calibration)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of models named float32.onnx, uint8.folder and so on."""
    folder = tmp_path_factory.mktemp("models")
    for name, extension in FORMATS.items():
        for dtype in ("float32", "uint8"):
            tk.export(make_classifier(), folder / f"{dtype}.{extension}", format=name, input_dtype=dtype)
    return folder


@pytest.fixture(scope="module")
def synthetic_photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """JPEG files of one color each with noise, some of them rotated, with a space in their names."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(3)
    paths = []
    for number in range(8):
        color = generator.uniform(0, 255, (1, 1, 3))
        pixels = np.clip(color + generator.normal(0, 30, (90 + 7 * number, 133, 3)), 0, 255).astype(np.uint8)
        exif = Image.Exif()
        exif[0x0112] = 1 + number
        paths.append(folder / f"photo {number}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=90, exif=exif)
    return paths


@pytest.fixture
def real_photos(photos: Path) -> list[Path]:
    return sorted((photos / "validation").rglob("*.jpg"))[::8]


def expected_predictions(paths: Sequence[Path], spec: tk.ImageSpec = SPEC) -> Expected:
    predictions = make_classifier(spec).with_engines(["keras"]).predict(list(paths))
    found = {path: (one.label, float(one.probability)) for path, one in zip(paths, predictions)}
    assert len({label for label, _ in found.values()}) > 1
    return found


def assert_agrees(output: str, expected: Expected, tolerance: float = 1e-5) -> None:
    """Compare lines "path: label probability" with the predictions of Keras."""
    lines = output.splitlines()
    assert len(lines) == len(expected)
    for line, (path, (label, probability)) in zip(lines, expected.items()):
        found, _, value = line.rpartition(" ")
        assert found == f"{path}: {label}"
        assert float(value) == pytest.approx(probability, abs=tolerance)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables for processes that cannot import transferkit, TensorFlow and Keras."""
    folder = tmp_path_factory.mktemp("hidden")
    for name in HIDDEN:
        (folder / f"{name}.py").write_text(f"raise ImportError('{name} is hidden')\n")
    variables = {**os.environ, "PYTHONPATH": str(folder)}
    for name in HIDDEN:
        # In another folder, because Python searches the current one first for the code of -c.
        command = [sys.executable, "-c", f"import {name}"]
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
        assert done.returncode == 1 and f"{name} is hidden" in done.stderr
    return variables


def run_program(command: Sequence[object], environment: dict[str, str], home: Path) -> str:
    """Run a program, which must not write into the home folder, and return its output."""
    home.mkdir(exist_ok=True)
    variables = {**environment, "HOME": str(home)}
    done = subprocess.run(list(map(str, command)), env=variables, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == []
    return done.stdout


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_python(
    name: str, dtype: str, models: Path, synthetic_photos: list[Path], environment: dict[str, str], tmp_path: Path
) -> None:
    model = models / f"{dtype}.{FORMATS[name]}"
    command = [sys.executable, EXAMPLES / "python" / PROGRAMS[name], model, *synthetic_photos]
    assert_agrees(run_program(command, environment, tmp_path / "home"), expected_predictions(synthetic_photos))


@pytest.mark.parametrize("name", PROGRAMS)
def test_python_with_real_photos(
    name: str, real_photos: list[Path], environment: dict[str, str], tmp_path: Path
) -> None:
    spec = tk.ImageSpec((SIZE, SIZE), resize="crop", crop_fraction=0.875)
    model = tmp_path / f"model.{FORMATS[name]}"
    tk.export(make_classifier(spec), model, format=name)
    command = [sys.executable, EXAMPLES / "python" / PROGRAMS[name], model, *real_photos]
    assert_agrees(run_program(command, environment, tmp_path / "home"), expected_predictions(real_photos, spec))


@pytest.mark.slow
def test_cpp(models: Path, synthetic_photos: list[Path], environment: dict[str, str], tmp_path: Path) -> None:
    package = importlib.util.find_spec("openvino")
    if package is None or not shutil.which("cmake") or not shutil.which("c++"):
        pytest.skip("needs the package openvino, CMake and a C++ compiler")
    (folder,) = package.submodule_search_locations or ()
    configure = ["cmake", "-S", EXAMPLES / "cpp", "-B", tmp_path, f"-DOpenVINO_DIR={folder}/cmake"]
    run_program(configure, environment, tmp_path / "home")
    run_program(["cmake", "--build", tmp_path], environment, tmp_path / "home")
    expected: Expected = {}
    for path, prediction in expected_predictions(synthetic_photos).items():
        copy = tmp_path / f"{path.stem}.ppm"
        Image.fromarray(load_image(path, SPEC)).save(copy)
        expected[copy] = prediction
    for dtype in ("float32", "uint8"):
        command = [tmp_path / "predict", models / f"{dtype}.folder", *expected]
        assert_agrees(run_program(command, environment, tmp_path / "home"), expected)
    larger = tmp_path / "larger.ppm"
    Image.new("RGB", (SIZE + 1, SIZE)).save(larger)
    refused = list(map(str, [tmp_path / "predict", models / "uint8.folder", larger]))
    done = subprocess.run(refused, capture_output=True, text=True)
    assert done.returncode == 1 and "must be a complete P6 file of 16 x 16 pixels" in done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of examples/consumers with the packages of npm."""
    return install(tmp_path_factory.mktemp("consumers"))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_node(
    dtype: str, installed: Path, models: Path, synthetic_photos: list[Path], environment: dict[str, str], tmp_path: Path
) -> None:
    command = [node(), installed / "node" / "predict.mjs", models / f"{dtype}.onnx", *synthetic_photos]
    assert_agrees(run_program(command, environment, tmp_path / "home"), expected_predictions(synthetic_photos))


@pytest.mark.slow
def test_node_with_real_photos(installed: Path, models: Path, real_photos: list[Path], tmp_path: Path) -> None:
    program = installed / "node" / "predict.mjs"
    assert_agrees(run_node(program, models / "float32.onnx", *real_photos), expected_predictions(real_photos))
    # Photos that training decodes at 1/8 of their size.
    spec = tk.ImageSpec((SIZE, SIZE))
    tk.export(make_classifier(spec), tmp_path / "model.onnx")
    output = run_node(program, tmp_path / "model.onnx", *real_photos)
    assert_agrees(output, expected_predictions(real_photos, spec), tolerance=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_browser(dtype: str, installed: Path, models: Path, synthetic_photos: list[Path]) -> None:
    check_page(installed, models / f"{dtype}.onnx", synthetic_photos)


@pytest.mark.slow
def test_browser_with_real_photos(installed: Path, models: Path, real_photos: list[Path]) -> None:
    check_page(installed, models / "float32.onnx", real_photos)


def check_page(installed: Path, model: Path, paths: Sequence[Path]) -> None:
    with open_page(installed, "/web/index.html") as page:
        page.set_input_files("#model", str(model))
        shown = [f"{path}: {page.result_of(path)}" for path in paths]
        assert_agrees("\n".join(shown), expected_predictions(paths))
        assert page.result_of(model).startswith("Error: ")
