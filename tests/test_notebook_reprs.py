"""What a notebook displays for the last expression of a cell: tables with escaped names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import keras
import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.training.conftest import small_network
from transferkit.training.history import PhaseRecord, RunHistory, make_history

HOSTILE = "<script>alert(1)</script>"


def rows_of(html: str) -> list[list[str]]:
    root = ElementTree.fromstring(f"<div>{html.replace('<br>', '<br/>')}</div>")
    return [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]


def text_of(html: str) -> str:
    return "".join(ElementTree.fromstring(f"<div>{html.replace('<br>', '<br/>')}</div>").itertext())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two classes, of which one has a name that is code."""
    paths, labels = [], []
    folder = tmp_path_factory.mktemp("images")
    for number in range(12):
        path = folder / f"{number}.png"
        Image.new("RGB", (32, 32), (20 * number, 255 - 20 * number, 0)).save(path)
        paths.append(str(path))
        labels.append(HOSTILE if number % 2 else "cats")
    return tk.DatasetBuilder((paths, labels), validation=4, image_size=32, progress=False).build()


@pytest.fixture(scope="module")
def trainer(data: Any) -> tk.Trainer:
    keras.utils.set_random_seed(0)
    backbone = tk.BackboneFactory.create(small_network(), preprocessing="tf")
    return tk.Trainer(tk.build_classifier(backbone, tk.ClassifierHead(2)))


def test_data_has_counts_of_all_splits(data: Any) -> None:
    html = data._repr_html_()
    assert rows_of(html) == [
        ["split", "images", HOSTILE, "cats"],
        ["train", "8", "4", "4"],
        ["validation", "4", "2", "2"],
    ]
    assert "2 classes" in text_of(html) and "sizes: 32 x 32" in text_of(html)


def test_data_report_of_many_classes() -> None:
    counts = {"train": {f"class {number:02}": 2 for number in range(30)}}
    header, row = rows_of(tk.DataReport(counts, skipped=[(HOSTILE, "broken")])._repr_html_())
    assert header[-2:] == ["class 19", "10 more classes"]
    assert row[:2] == ["train", "60"] and row[-1] == "20"


def test_plan(trainer: tk.Trainer, data: Any) -> None:
    html = trainer.plan(data)._repr_html_()
    assert text_of(html) == str(trainer.plan(data)).replace("\n", "")


def test_history_has_one_row_per_epoch() -> None:
    metrics = {"loss": [0.75, 0.5, 0.25], "val_accuracy": [0.5, 0.75, 1.0]}
    history = make_history(small_network(), metrics, first_epoch=2)
    assert rows_of(history._repr_html_()) == [
        ["epoch", "loss", "val_accuracy"],
        ["3", "0.75", "0.5"],
        ["4", "0.5", "0.75"],
        ["5", "0.25", "1"],
    ]
    long = make_history(small_network(), {"loss": [1.0] * 60}, first_epoch=0)._repr_html_()
    assert len(rows_of(long)) == 51 and "the last 50 of 60 epochs" in text_of(long)


def test_run_history_has_one_row_per_phase() -> None:
    run = RunHistory()
    run.append(PhaseRecord("frozen", {"loss": [0.75, 0.5]}, 0, 1.0, 1e-4, "features"))
    run.append(PhaseRecord("fine-tuning", {"loss": [0.25], "val_loss": [0.3]}, 2, 1.0, 1e-5, "images"))
    assert rows_of(run._repr_html_()) == [
        ["phase", "epochs", "last loss", "last val_loss"],
        ["frozen", "2", "0.5", ""],
        ["fine-tuning", "1", "0.25", "0.3"],
    ]


def test_report_and_prediction(trainer: tk.Trainer, data: Any) -> None:
    trainer.fit(data, epochs=1, verbose=0)
    html = trainer.evaluate(data.validation)._repr_html_()
    header, first, second = rows_of(html)
    assert header == ["class", "precision", "recall", "f1", "images"]
    assert (first[0], first[-1], second[0], second[-1]) == (HOSTILE, "2", "cats", "2")
    assert "4 images: accuracy" in text_of(html)
    prediction = trainer.predict(data.files["validation"][0])
    rows = rows_of(prediction._repr_html_())
    assert rows[0] == ["class", "probability"]
    assert sorted(row[0] for row in rows[1:]) == [HOSTILE, "cats"]
    assert Path(data.files["validation"][0]).name in text_of(prediction._repr_html_())


def test_prediction_with_an_error() -> None:
    html = tk.Prediction(f"{HOSTILE}.jpg", "it is <truncated>", ("a", "b"), None)._repr_html_()
    assert text_of(html) == f"{HOSTILE}.jpgerror: it is <truncated>"
    array = tk.Prediction(None, None, ("a", "b"), np.array([0.25, 0.75], np.float32))._repr_html_()
    assert rows_of(array) == [["class", "probability"], ["b", "0.7500"], ["a", "0.2500"]]


def test_no_name_is_code(data: Any) -> None:
    assert not re.search("<script", data._repr_html_())
    assert "&lt;script&gt;" in data._repr_html_()
