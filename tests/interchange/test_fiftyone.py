"""Data sets of FiftyOne."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.interchange.conftest import NAMES
from transferkit.interchange import read_fiftyone, write_fiftyone


def test_predictions_have_confidences(predictions: tk.Predictions, photos_folder: Path, tmp_path: Path) -> None:
    write_fiftyone(predictions, tmp_path / "out")
    contents = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert contents["classes"] == ["cats", "dogs"]
    assert contents["labels"] == {
        str(photos_folder / NAMES[0]): {"label": "cats", "confidence": pytest.approx(0.9)},
        str(photos_folder / NAMES[1]): {"label": "dogs", "confidence": pytest.approx(0.6)},
        str(photos_folder / NAMES[2]): {"label": "cats", "confidence": pytest.approx(0.75)},
    }


@pytest.mark.parametrize(("field", "expected"), [("labels", "cats"), ("predictions", "dogs"), ("auto", "dogs")])
def test_fields_of_an_inspection(
    field: str, expected: str, inspection: Any, photos_folder: Path, tmp_path: Path
) -> None:
    write_fiftyone(inspection, tmp_path, field=field)
    contents = json.loads((tmp_path / "labels.json").read_text())
    assert contents["labels"][str(photos_folder / "b%2.png")] == {"label": expected}


def test_written_labels_are_read_again(inspection: Any, tmp_path: Path) -> None:
    write_fiftyone(inspection.data, tmp_path)
    paths, labels = read_fiftyone(tmp_path)
    names, split = inspection.data.class_names, inspection.data.splits["train"]
    assert dict(zip(paths, labels)) == {path: names[label] for path, label in zip(split.paths, split.labels)}


def test_several_labels_per_image(photos_folder: Path, tmp_path: Path) -> None:
    calibration = tk.Calibration(thresholds=(0.5, 0.5, 0.5))
    values = np.array([0.9, 0.2, 0.6], np.float32)
    one = tk.Prediction(str(photos_folder / NAMES[0]), None, ("a", "b", "c"), values, calibration)
    write_fiftyone([one], tmp_path)
    assert read_fiftyone(tmp_path) == ([str(photos_folder / NAMES[0])], [["a", "c"]])


@pytest.mark.parametrize("listed", [False, True])
def test_exported_data_set(listed: bool, photos_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    folder.mkdir()
    labels = {"a 1": 0, "b%2": {"label": "dogs"}, "sub/d": 1, "ü&3": None}
    (folder / "labels.json").write_text(json.dumps({"classes": ["cats", "dogs"], "labels": labels}))
    if listed:
        files = {name.rsplit(".", 1)[0]: str(photos_folder / name) for name in NAMES}
        (folder / "data.json").write_text(json.dumps(files))
        root = photos_folder
    else:
        root = photos_folder.rename(folder / "data")
    paths, found = read_fiftyone(folder)
    assert paths == [str(root / NAMES[0]), str(root / NAMES[1]), str(root / NAMES[3])]
    assert found == ["cats", "dogs", "dogs"]


@pytest.mark.parametrize(
    ("contents", "text"),
    [
        (None, "`folder` must have the labels.json of a FiftyOneImageClassificationDataset"),
        ([], "`folder` must have the labels.json"),
        ({"classes": ["a"], "labels": {"x": 3}}, "`folder` must have the labels.json"),
        ({"classes": ["a"], "labels": {"x": None}}, "`folder` must have labels"),
        ({"classes": ["a"], "labels": {"x": 0}}, r"Every label must have an image.*Received: none for \['x'\]"),
    ],
)
def test_errors(contents: Any, text: str, tmp_path: Path) -> None:
    if contents is not None:
        (tmp_path / "labels.json").write_text(json.dumps(contents))
    with pytest.raises(tk.DataError, match=text):
        read_fiftyone(tmp_path)


def test_missing_field(predictions: tk.Predictions, tmp_path: Path) -> None:
    with pytest.raises(tk.DataError, match="`source` must have labels. Received: .* without them"):
        write_fiftyone(predictions, tmp_path, field="labels")
    assert not list(tmp_path.glob("labels.json"))


def test_arrays_are_refused(tmp_path: Path) -> None:
    images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 0, 1, 1])
    images[:] = np.arange(4)[:, None, None, None]
    data = tk.DatasetBuilder((images, labels), image_size=8).build()
    with pytest.raises(tk.DataError, match="The images of `source` must be files. Received: arrays or records"):
        write_fiftyone(data, tmp_path)
