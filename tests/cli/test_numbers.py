"""Commands with numbers as labels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.cli.conftest import TRAIN, Command
from tests.prediction.test_numbers import make_images


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of 60 images and their brightness."""
    folder = tmp_path_factory.mktemp("brightness")
    labels = np.random.default_rng(0).uniform(40, 200, 60).round(1)
    for index, image in enumerate(make_images(labels, 0)):
        Image.fromarray(image).save(folder / f"{index}.png")
    lines = [f"{index}.png,{label}" for index, label in enumerate(labels)]
    (folder / "labels.csv").write_text("\n".join(["path,label", *lines]))
    return folder / "labels.csv"


def test_train_evaluate_predict_explain_and_export(table: Path, tmp_path: Path, command: Command) -> None:
    run, image = tmp_path / "run", table.with_name("0.png")
    split = ["--validation", "0.3", "--test", "0.2"]
    lines = command.lines("train", table, "--target", "number", *TRAIN, *split, "--out", run)
    assert "mean absolute error" in lines[0] and "test images" in lines[0]
    assert (run / "report.html").is_file() and 'target = "number"' in (run / "config.toml").read_text()
    assert "scale" not in (run / "config.toml").read_text()
    result = command.json("evaluate", run, table, "--html", tmp_path / "report.html")
    expected = tk.load(run).evaluate(tk.DatasetBuilder(table, target="number", image_size=32).build().train)
    assert result["images"] == 60 and result["r2"] == pytest.approx(expected.r2, rel=1e-4)
    assert "mean absolute error" in (tmp_path / "report.html").read_text()
    prediction = tk.load(run).predict(str(image))
    assert command.json("predict", run, image) == {
        "path": str(image),
        "value": pytest.approx(prediction.value),
        "low": pytest.approx(prediction.low),
        "high": pytest.approx(prediction.high),
        "error": None,
    }
    numbers = [f"{number:.5g}" for number in (prediction.value, prediction.low, prediction.high)]
    assert command.lines("predict", run, image) == ["\t".join([str(image), *numbers])]
    command.lines("predict", run, table.parent, "--out", tmp_path / "numbers.csv")
    with open(tmp_path / "numbers.csv", newline="") as file:
        assert [list(row) for row in csv.DictReader(file)] == [["path", "value", "low", "high", "error"]] * 60
    heat_map = command.json("explain", run, image, "--out", tmp_path / "maps")
    assert heat_map["value"] == pytest.approx(prediction.value, rel=1e-4) and "label" not in heat_map
    report = command.json("export", run, "--out", tmp_path / "model.onnx")
    assert report["max_difference"] < 1e-5 and report["label_agreement"] is None


def test_config_repeats_the_run(table: Path, tmp_path: Path, command: Command) -> None:
    first = command.json("train", table, "--target", "number", *TRAIN, "--out", tmp_path / "first")
    second = command.json("train", "--config", tmp_path / "first" / "config.toml", "--out", tmp_path / "second")
    assert first["report"] == second["report"]


@pytest.mark.parametrize("option", [["--kind", "cosine"], ["--neighbors", "3"]])
def test_options_of_class_heads_are_refused(option: list[str], table: Path, tmp_path: Path, command: Command) -> None:
    message = command.error("train", table, "--target", "number", *option, "--out", tmp_path / "run")
    assert f"`{option[0][2:]}` requires class labels" in message and "with target='number'" in message


@pytest.mark.parametrize("name", ["autofit", "compare", "inspect"])
def test_other_commands_have_no_target(name: str, table: Path, tmp_path: Path, command: Command) -> None:
    arguments = {"compare": ["--backbones", "MobileNetV2"], "inspect": ["--backbone", "MobileNetV2"]}.get(name, [])
    assert "--target" in command.error(name, table, *arguments, "--target", "number", status=2)
