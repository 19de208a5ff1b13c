"""Each command on the classifier of a run: results as text and JSON, files, exit codes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.cli.conftest import SMALL, Command
from transferkit.cli.main import main


def test_predict_prints_one_line_per_image(run_folder: Path, synthetic: Path, command: Command) -> None:
    folder = synthetic / "validation" / "cats"
    expected = tk.load(run_folder).predict(folder)
    lines = command.lines("predict", run_folder, folder)
    assert lines == [f"{one.path}\t{one.label}\t{one.probability:.4f}" for one in expected]
    rows = [json.loads(line) for line in command.lines("predict", run_folder, folder, "--json")]
    assert rows == [one.to_dict() for one in expected]


def test_predict_accepts_patterns_and_several_paths(
    run_folder: Path, synthetic: Path, command: Command, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    lines = command.lines("predict", run_folder, synthetic / "*" / "dogs" / "dog.1.jpg", broken, "--json")
    rows = [json.loads(line) for line in lines]
    assert [Path(row["path"]).name for row in rows] == ["dog.1.jpg", "dog.1.jpg", "broken.jpg"]
    assert [row["error"] is None for row in rows] == [True, True, False]


def test_predict_writes_a_table(run_folder: Path, synthetic: Path, command: Command, tmp_path: Path) -> None:
    out = tmp_path / "predictions.csv"
    result = command.json("predict", run_folder, synthetic / "validation", "--out", out)
    assert result == {"path": str(out), "images": 20, "errors": 0}
    with open(out, newline="") as file:
        assert len(list(csv.DictReader(file))) == 20


def test_status_when_no_image_can_be_read(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    assert main(["predict", str(run_folder), str(broken)]) == 1
    assert f"{broken}\terror: " in capsys.readouterr().out
    assert main(["explain", str(run_folder), str(broken), "--out", str(tmp_path / "heat")]) == 1


def test_evaluate(run_folder: Path, synthetic: Path, command: Command, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    result = command.json("evaluate", run_folder, synthetic, "--html", page)
    data = tk.DatasetBuilder(synthetic, image_size=32).build()
    expected = tk.load(run_folder).evaluate(data.splits["validation"])
    assert (result["split"], result["images"], result["accuracy"]) == ("validation", 20, expected.accuracy)
    assert page.is_file()
    assert command.lines("evaluate", run_folder, synthetic / "train")[0].startswith("40 images: accuracy")
    error = command.error("evaluate", run_folder, synthetic, "--split", "test")
    assert "`split` must be one of 'train', 'validation'" in error


def test_explain_writes_one_file_per_image(run_folder: Path, synthetic: Path, command: Command, tmp_path: Path) -> None:
    images = [synthetic / split / "cats" / "cat.1.jpg" for split in ("train", "validation")]
    lines = command.lines("explain", run_folder, *images, "nothing.jpg", "--out", tmp_path / "heat", "--json")
    rows = [json.loads(line) for line in lines]
    assert [Path(row["file"]).name if row["file"] else None for row in rows] == ["cat.1.png", "cat.1-2.png", None]
    assert rows[2]["error"] == "there is no such file"
    expected = tk.explain(tk.load(run_folder), images)[1].overlay()
    np.testing.assert_array_equal(np.asarray(Image.open(rows[1]["file"])), expected)


def test_inspect(synthetic: Path, command: Command, tmp_path: Path) -> None:
    arguments = ["inspect", synthetic, "--backbone", SMALL, "--image-size", 32]
    result = command.json(*arguments, "--out", tmp_path / "page.html", "--csv", tmp_path / "table.csv")
    assert result["images"] == 60 and result["class_overlap"][0]["classes"] == ["cats", "dogs"]
    assert (tmp_path / "page.html").is_file() and len((tmp_path / "table.csv").read_text().splitlines()) == 61
    assert command.lines(*arguments, "--no-image-quality")[0] == "Inspection of 60 images, 2 classes"


def test_export_and_predict_with_the_exported_model(
    run_folder: Path, synthetic: Path, command: Command, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    out = tmp_path / "model.onnx"
    images = synthetic / "validation"
    result = command.json("export", run_folder, "--format", "onnx", "--out", out, "--images", images)
    assert (result["format"], result["num_images"], result["label_agreement"]) == ("onnx", 20, 1.0)
    labels = [json.loads(line)["label"] for line in command.lines("predict", out, images, "--json")]
    assert labels == [one.label for one in tk.load(run_folder).predict(images)]
    assert "`format` must be one of" in command.error("export", run_folder, "--format", "onxn", "--out", out)


def test_compare(synthetic: Path, command: Command, tmp_path: Path) -> None:
    arguments = ["compare", synthetic, "--image-size", 32, "--folds", 2, "--backbones"]
    scores = command.json(*arguments, SMALL, "Nothing", "--out", tmp_path / "plot.png")
    assert [score["name"] for score in scores] == [SMALL, "Nothing"]
    assert 0 <= scores[0]["accuracy"] <= 1 and scores[1]["accuracy"] is None and "Nothing" in scores[1]["error"]
    assert (tmp_path / "plot.png").is_file()
    assert main([*map(str, arguments), "Nothing"]) == 1


def test_autofit(synthetic: Path, command: Command, tmp_path: Path) -> None:
    out = tmp_path / "found"
    options = ["--image-size", 32, "--max-trials", 2, "--time-limit", "10m", "--backbones", "EfficientNetLite0"]
    result = command.json("autofit", synthetic, *options, "--out", out)
    assert result["folder"] == str(out) and result["test"]["split"] == "validation" and result["report"]["images"] == 20
    assert {row["name"].partition(",")[0] for row in result["leaderboard"]} == {"EfficientNetLite0"}
    assert (
        tk.load(out).evaluate(tk.DatasetBuilder(synthetic, image_size=32).build()).accuracy == result["test"]["value"]
    )
    lines = command.lines("autofit", synthetic, *options, "--out", out)
    assert any("20 validation images that no choice used" in line for line in lines)
    assert lines[-1] == f"  transferkit predict {out} new_photos/"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "`folder` must be new, empty" in command.error("autofit", synthetic, "--out", tmp_path / "mine")


def test_scan_reports_leaks(synthetic: Path, command: Command, tmp_path: Path) -> None:
    for split in ("train", "validation"):
        target = tmp_path / "photos" / split / "cats" / f"{split}.jpg"
        target.parent.mkdir(parents=True)
        target.write_bytes((synthetic / "train" / "cats" / "cat.1.jpg").read_bytes())
    result = command.json("scan", tmp_path / "photos", "--html", tmp_path / "scan.html")
    assert result["total"] == 2 and any(note.startswith("leak: ") for note in result["notes"])
    assert (tmp_path / "scan.html").is_file()
    assert command.lines("scan", synthetic)[0] == "train: 40 images (20 cats, 20 dogs)"


def test_backbones(command: Command) -> None:
    rows = command.json("backbones", "--max-parameters", "5e6", "--by", "top1", "--descending")
    assert rows == tk.BackboneFactory.catalogue().filter(max_parameters=5e6).sorted("top1", descending=True).to_dicts()
    assert command.lines("backbones")[0].split()[:2] == ["name", "parameters"]


def test_datasets(command: Command, tmp_path: Path) -> None:
    assert [row["name"] for row in command.json("datasets")] == ["cats_and_dogs", "synthetic_cats_and_dogs"]
    arguments = ["--training", 4, "--validation", 2, "--size", 32, "--out", tmp_path / "photos"]
    result = command.json("datasets", "synthetic_cats_and_dogs", *arguments)
    assert len(list(Path(result["folder"]).rglob("*.jpg"))) == 6


def test_cache_is_cleared_after_confirmation(command: Command, own_home: Path) -> None:
    entry = own_home / "features" / "entry"
    entry.parent.mkdir(parents=True)
    entry.write_bytes(b"1234")
    assert command.json("cache")["sizes"]["features"] == 4
    assert "features 0.0 MB" in command.error("cache", "--clear", "features")
    assert entry.is_file()
    assert command.json("cache", "--clear", "features", "--yes")["sizes"]["features"] == 0
    assert not entry.exists()
