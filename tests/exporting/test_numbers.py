"""Exported models of numbers: values, intervals and metadata in each format and runtime."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

import transferkit as tk
from tests.exporting.test_export_model import PATHS
from tests.prediction.test_numbers import make_data, make_trainer
from tests.test_saved_numbers import check_equal
from transferkit.errors import DataError
from transferkit.exporting.formats import FORMATS


@pytest.fixture(scope="module")
def data() -> tk.Data:
    return make_data(300, test=0.2)


@pytest.fixture(scope="module")
def trainer(data: tk.Data) -> tk.Trainer:
    trainer = make_trainer()
    trainer.fit(data, epochs=5, verbose=0)
    return trainer


@pytest.mark.parametrize("name", FORMATS)
def test_exported_values_agree_with_keras(name: str, trainer: tk.Trainer, data: tk.Data, tmp_path: Path) -> None:
    path = tmp_path / PATHS[name]
    report = tk.export(trainer, path, format=name, images=data, features=True)
    images, labels = data.splits["test"].images, data.splits["test"].labels
    expected = trainer.model.predict(images, verbose=0)
    outputs = FORMATS[name].load(path)(images)
    assert sorted(outputs) == ["features", "values"]
    np.testing.assert_allclose(outputs["values"], expected, rtol=1e-5)
    # Relative to the standard deviation of the labels.
    assert report.max_difference < 1e-5 and report.label_agreement is None and report.accuracy is None
    assert report.mean_absolute_error == pytest.approx(np.abs(expected[:, 0] - labels).mean(), rel=1e-4)
    assert report.keras_mean_absolute_error == pytest.approx(report.mean_absolute_error, rel=1e-4)
    assert "labels equal" not in str(report) and "mean absolute error" in str(report)


@pytest.mark.parametrize("name", ["onnx", "litert", "openvino"])
def test_runtime_predicts_values_and_intervals(name: str, trainer: tk.Trainer, data: tk.Data, tmp_path: Path) -> None:
    tk.export(trainer, tmp_path / PATHS[name], format=name)
    predictor = tk.load(tmp_path / PATHS[name])
    assert predictor.target == "number" and predictor.engine == name
    check_equal(predictor, trainer.predictor(), data.splits["test"].images, 1e-5)
    np.testing.assert_allclose(predictor.evaluate(data).r2, trainer.evaluate(data).r2, rtol=1e-4)


def test_saved_folder_predicts_without_tensorflow(trainer: tk.Trainer, data: tk.Data, tmp_path: Path) -> None:
    folder = trainer.save(tmp_path / "saved", formats=["onnx"])
    image = data.splits["test"].images[0]
    np.save(tmp_path / "image.npy", image)
    code = (
        "import sys, importlib.util\nsys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'tensorflow' else find(name)\n"
        "import numpy as np, transferkit as tk\n"
        f"one = tk.load({str(folder)!r}).predict(np.load({str(tmp_path / 'image.npy')!r}))\n"
        "print(one.value, one.low, one.high)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    expected = trainer.predict(image)
    values = [expected.value, expected.low, expected.high]
    assert result.stdout, result.stderr
    np.testing.assert_allclose([float(text) for text in result.stdout.split()], values, rtol=1e-5)


def test_files_have_no_labels(trainer: tk.Trainer, tmp_path: Path) -> None:
    for name, path in PATHS.items():
        tk.export(trainer, tmp_path / path, format=name)
    assert not list(tmp_path.rglob("labels.txt"))
    assert zipfile.ZipFile(tmp_path / PATHS["litert"]).namelist() == ["transferkit.json"]
    model = onnx.load(tmp_path / PATHS["onnx"])
    assert {one.key for one in model.metadata_props} == {"transferkit", "license"}
    assert model.doc_string == "RGB images in [0, 255] to values."


@pytest.mark.parametrize(("name", "precision"), [("onnx", "float16"), ("openvino", "int8"), ("litert", "dynamic_int8")])
def test_lower_precision(name: str, precision: str, trainer: tk.Trainer, data: tk.Data, tmp_path: Path) -> None:
    calibration = data if precision == "int8" else None
    report = tk.export(
        trainer, tmp_path / PATHS[name], format=name, precision=precision, images=data, calibration=calibration
    )
    assert 0 < report.max_difference < 0.5


def test_difference_beyond_the_tolerance_is_refused(trainer: tk.Trainer, data: tk.Data, tmp_path: Path) -> None:
    options = {"precision": "float16", "images": data, "tolerance": 1e-9}
    with pytest.raises(tk.ExportError, match=r"Received: values off by .*, more than 1e-09"):
        tk.export(trainer, tmp_path / "model.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_option_of_classes_is_refused(trainer: tk.Trainer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="`min_label_agreement` requires class labels"):
        tk.export(trainer, tmp_path / "model.onnx", min_label_agreement=0.9)
