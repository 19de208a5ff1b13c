"""Tasks for Label Studio, and its exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import transferkit as tk
from tests.interchange.conftest import NAMES
from transferkit.interchange import label_studio_config, read_label_studio, write_label_studio


def choice(*names: str) -> dict[str, Any]:
    return {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": list(names)}}


def test_predictions_become_tasks(predictions: tk.Predictions, photos_folder: Path, tmp_path: Path) -> None:
    write_label_studio(predictions, tmp_path / "tasks.json", root=photos_folder)
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [
        "/data/local-files/?d=a%201.png",
        "/data/local-files/?d=b%252.png",
        "/data/local-files/?d=%C3%BC%263.png",
    ]
    assert tasks[1]["predictions"] == [
        {"model_version": "transferkit", "score": pytest.approx(0.6), "result": [choice("dogs")]}
    ]
    assert "annotations" not in tasks[0]


def test_labels_and_suggestions_of_an_inspection(inspection: Any, photos_folder: Path, tmp_path: Path) -> None:
    write_label_studio(inspection, tmp_path / "tasks.json", root=photos_folder, url="https://example.org/")
    tasks = {task["data"]["image"]: task for task in json.loads((tmp_path / "tasks.json").read_text())}
    assert len(tasks) == 4
    task = tasks["https://example.org/b%252.png"]
    assert task["annotations"] == [{"result": [choice("cats")]}]
    assert task["predictions"] == [{"model_version": "transferkit", "result": [choice("dogs")]}]


def test_written_labels_are_read_again(inspection: Any, photos_folder: Path, tmp_path: Path) -> None:
    write_label_studio(inspection.data, tmp_path / "tasks.json", root=photos_folder)
    paths, labels = read_label_studio(tmp_path / "tasks.json", root=photos_folder)
    expected = {str(photos_folder / name): label for name, label in zip(NAMES, ["cats", "cats", "dogs", "dogs"])}
    assert dict(zip(paths, labels)) == expected
    assert tk.DatasetBuilder((paths, labels)).build().class_names == ("cats", "dogs")


def export(tmp_path: Path, tasks: Any) -> Path:
    path = tmp_path / "export.json"
    path.write_text(tasks if isinstance(tasks, str) else json.dumps(tasks))
    return path


def test_last_annotation_counts(photos_folder: Path, tmp_path: Path) -> None:
    tasks = [
        {
            "data": {"image": "/data/upload/7/0a1b2c3d-a%201.png"},
            "annotations": [{"result": [choice("cats")]}, {"result": [choice("dogs")]}, {"result": []}],
        },
        {
            "data": {"image": "https://example.org/photos/sub/d.png"},
            "annotations": [{"result": [choice("cats")]}, {"result": [choice("dogs")], "was_cancelled": True}],
        },
        {"data": {"image": "skipped.png"}, "annotations": [{"result": [choice("cats")], "was_cancelled": True}]},
        {"data": {"image": "new.png"}, "annotations": [], "predictions": [{"result": [choice("cats")]}]},
    ]
    # The second image is in a subfolder: it is found by its path relative to the folder alone.
    tasks[1]["data"]["image"] = "/sub/d.png"
    paths, labels = read_label_studio(export(tmp_path, tasks), root=photos_folder)
    assert paths == [str(photos_folder / "a 1.png"), str(photos_folder / "sub" / "d.png")]
    assert labels == ["dogs", "cats"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["cats", "dogs"], ["cats", "dogs"]),
        (["cats", {"choices": ["dogs", "cats"]}], [["cats"], ["dogs", "cats"]]),
    ],
)
def test_json_min(values: list[Any], expected: list[Any], photos_folder: Path, tmp_path: Path) -> None:
    rows = [
        {"image": f"?d={name.replace('%', '%25').replace(' ', '%20')}", "label": v} for name, v in zip(NAMES, values)
    ]
    _, labels = read_label_studio(export(tmp_path, rows), root=photos_folder)
    assert labels == expected


@pytest.mark.parametrize(
    ("tasks", "text"),
    [
        ("no JSON", "`path` must be a JSON export of Label Studio. Received"),
        ([{"text": "no image"}], "`path` must be a JSON export of Label Studio. Received: .* \\('image'\\)"),
        ([{"data": {"image": "a.png"}, "annotations": []}], "`path` must have labeled images"),
        (
            [{"image": "missing.png", "label": "cats"}],
            "must have all images. Received: .* without 'missing.png'",
        ),
        ([{"image": "../tasks.json", "label": "cats"}], "`root` must have all images"),
        ([{"image": "?d=/etc/hostname", "label": "cats"}], "`root` must have all images"),
        ([{"image": "a\0.png", "label": "cats"}], "`root` must have all images"),
    ],
)
def test_errors_of_exports(tasks: Any, text: str, photos_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(tk.DataError, match=text):
        read_label_studio(export(tmp_path, tasks), root=photos_folder)


def test_images_outside_of_the_root(predictions: tk.Predictions, photos_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(tk.DataError, match="`root` must have all images. Received: .*sub'"):
        write_label_studio(predictions, tmp_path / "tasks.json", root=photos_folder / "sub")
    assert not (tmp_path / "tasks.json").exists()


def test_other_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="`source` must be Data, a list of predictions or an Inspection. Received: int"):
        write_label_studio(3, tmp_path / "tasks.json", root=tmp_path)
    with pytest.raises(TypeError, match="`source` must have predictions. Received: str"):
        write_label_studio(["a.jpg"], tmp_path / "tasks.json", root=tmp_path)
    with pytest.raises(tk.DataError, match="`source` must have at least one image"):
        write_label_studio([], tmp_path / "tasks.json", root=tmp_path)


def test_config_is_xml_with_all_names() -> None:
    names = ["cats", 'big "dogs" & <wolves>']
    root = ElementTree.fromstring(label_studio_config(names, multi_label=True))
    assert [choice.get("value") for choice in root.iter("Choice")] == names
    assert root.find("Choices").get("choice") == "multiple"
