"""Saved models of numbers: equal values after loading, metadata, model cards, exported models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import transferkit as tk
from tests.prediction.test_numbers import SIZE, make_data, make_images, make_trainer
from tests.test_huggingface import Hub, hub
from tests.test_metadata import signed

__all__ = ["hub"]


@pytest.fixture(scope="module")
def data() -> tk.Data:
    return make_data(300, test=0.2)


@pytest.fixture(scope="module")
def trainer(data: tk.Data) -> tk.Trainer:
    trainer = make_trainer()
    trainer.fit(data, epochs=5, verbose=0)
    return trainer


@pytest.fixture(scope="module")
def saved(trainer: tk.Trainer, data: tk.Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trainer.save(tmp_path_factory.mktemp("saved") / "brightness", report=trainer.evaluate(data))


def check_equal(actual: tk.Predictor, expected: tk.Predictor, images: Any, tolerance: float = 1e-6) -> None:
    pairs = list(zip(actual.predict(images), expected.predict(images)))
    assert len(pairs) > 10
    for name in ("value", "low", "high"):
        values = [[getattr(one, name) for one in pair] for pair in pairs]
        np.testing.assert_allclose(*np.transpose(values), rtol=tolerance)


def test_loaded_model_predicts_equal_values_and_intervals(trainer: tk.Trainer, data: tk.Data, saved: Path) -> None:
    check_equal(tk.load(saved), trainer.predictor(), data.splits["test"].images)
    report = tk.load(saved).evaluate(data)
    np.testing.assert_allclose(report.predictions, trainer.evaluate(data).predictions, rtol=1e-5)


def test_metadata_have_the_target_and_the_unit(data: tk.Data, saved: Path) -> None:
    values = json.loads((saved / "transferkit.json").read_text())
    # Versions that know classes alone would take the number for the logit of two classes.
    assert values["format"] == 6 and values["activation"] == "linear" and values["class_names"] == []
    assert values["calibration"]["coverage"] == 0.9 and values["calibration"]["half_width"] > 0
    labels = data.splits["train"].labels.astype(np.float64)
    assert values["training"]["images"] is None
    assert values["training"]["labels"] == {
        "name": None,
        "images": len(labels),
        "mean": pytest.approx(labels.mean()),
        "standard_deviation": pytest.approx(labels.std()),
        "minimum": labels.min(),
        "maximum": labels.max(),
    }


def test_model_card_states_errors_and_interval(saved: Path, data: tk.Data, trainer: tk.Trainer) -> None:
    text = (saved / "README.md").read_text()
    assert "image-regression" in yaml.safe_load(text.split("---\n")[1])["tags"]
    report = trainer.evaluate(data)
    low, high = report.confidence_interval("r2", samples=1000)
    assert f"| r2 | {report.r2:.4g} | {low:.4g} to {high:.4g} |" in text
    half_width = trainer.predictor().calibration.half_width
    assert f"The intervals, {half_width:.4g} to either side of the value, were calibrated on 90 images" in text
    assert (saved / "evaluation.png").is_file() and "classes" not in text


def test_model_card_names_the_label(tmp_path: Path) -> None:
    labels = np.linspace(40, 200, 20).round(1)
    for index, image in enumerate(make_images(labels, 0)):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    rows = [f"{index}.png,{label}" for index, label in enumerate(labels)]
    (tmp_path / "t.csv").write_text("\n".join(["path,Age_in_days", *rows]))
    options = {"label_column": "Age_in_days", "target": "number", "image_size": SIZE}
    trainer = make_trainer()
    trainer.fit(tk.DatasetBuilder(tmp_path / "t.csv", **options).build(), epochs=1, verbose=0)
    text = (trainer.save(tmp_path / "saved") / "README.md").read_text()
    assert "predicts one number, Age\\_in\\_days, for an image of 32x32 pixels" in text
    assert "The predictions have no intervals." in text and "with labels from 40 to 200" in text


def test_report_must_be_one_of_numbers(trainer: tk.Trainer, tmp_path: Path) -> None:
    report = tk.Report([0, 1], [[0.9, 0.1], [0.2, 0.8]], class_names=["a", "b"])
    with pytest.raises(TypeError, match="`report` must be a RegressionReport. Received: Report"):
        trainer.save(tmp_path / "saved", report=report)


def test_metadata_of_another_target_are_refused(saved: Path, trainer: tk.Trainer, tmp_path: Path) -> None:
    folder = trainer.save(tmp_path / "saved")
    values = json.loads((folder / "transferkit.json").read_text())
    (folder / "transferkit.json").write_text(signed({**values, "activation": "sigmoid", "class_names": ["a", "b"]}))
    with pytest.raises(tk.ArtifactError, match="its metadata do not match its model"):
        tk.load(folder)


def test_size_is_that_of_the_training(saved: Path) -> None:
    assert tk.load(saved).image_spec.image_size == (SIZE, SIZE)


def test_uploaded_files_are_a_model_of_numbers(saved: Path, hub: Hub, tmp_path: Path, data: tk.Data) -> None:
    tk.push_to_hub(saved, "user/cats-dogs", token="secret")
    assert set(hub.files) == {"README.md", "evaluation.png", "model.keras", "transferkit.json"}
    for name, content in hub.files.items():
        (tmp_path / name).write_bytes(content)
    check_equal(tk.load(tmp_path), tk.load(saved), data.splits["test"].images)
