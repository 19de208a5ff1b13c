"""Files of predictions: formats, interruptions, and images that cannot be read."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from PIL import Image

import transferkit as tk
from transferkit import engines
from transferkit.calibration import Calibration
from transferkit.images import ImageSpec
from transferkit.prediction import Predictor
from transferkit.prediction.partial_table import PartialTable
from transferkit.saving import save_classifier

from .conftest import brightness_model


class Interrupted(Exception):
    pass


def interrupt_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    """Let the next file of predictions fail after some batches, the last of which is written in part."""
    write = PartialTable.write
    written = []

    def write_or_fail(self: PartialTable, rows: Any) -> None:
        if len(written) == batches:
            # Half a batch, and a line without its end.
            write(self, rows[: len(rows) // 2])
            self._file.write(b'"cut')  # type: ignore[union-attr]
            raise Interrupted
        written.append(write(self, rows))

    monkeypatch.setattr(PartialTable, "write", write_or_fail)


def interrupt(predictor: Predictor, images: Any, path: Path, batches: int = 1) -> None:
    """Write predictions to `path`, and fail after some batches."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, batches)
        with pytest.raises(Interrupted):
            predictor.predict_to(images, path)


@pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet"])
def test_predict_to_equals_predict(predictor: Predictor, gray_files: list[str], tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"out.{extension}"
    written = predictor.predict_to(gray_files, path)
    assert (written.path, written.images, written.errors) == (str(path), 70, 1)
    assert repr(written) == f"PredictionFile({str(path)!r}, 70 images, 1 error)"
    readers = {"csv": pandas.read_csv, "jsonl": lambda file: pandas.read_json(file, lines=True)}
    frame = readers.get(extension, pandas.read_parquet)(path)
    expected = predictor.predict(gray_files)
    assert list(frame["path"]) == gray_files
    assert [None if pandas.isna(label) else label for label in frame["label"]] == [one.label for one in expected]
    assert frame["error"].iloc[10] == "it is an HTML page" and frame["error"].notna().sum() == 1
    scores = [one.probabilities.get("bright", np.nan) for one in expected]
    np.testing.assert_allclose(frame["p(bright)"].astype(float), scores, atol=1e-7)
    assert list(frame.columns) == ["path", "label", "probability", "error", "p(dark)", "p(bright)"]
    assert os.listdir(tmp_path / "images") and sorted(os.listdir(tmp_path)) == ["images", path.name]


@pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("batches", [0, 1, 2])
def test_predict_to_continues_after_interruption(
    predictor: Predictor, gray_files: list[str], tmp_path: Path, extension: str, batches: int
) -> None:
    unbroken, path = tmp_path / f"unbroken.{extension}", tmp_path / f"out.{extension}"
    predictor.predict_to(gray_files, unbroken)
    interrupt(predictor, gray_files, path, batches=batches)
    assert not path.exists()
    rows = []
    with pytest.MonkeyPatch.context() as patch:
        write = PartialTable.write
        patch.setattr(PartialTable, "write", lambda self, new: (rows.extend(new), write(self, new)))
        written = predictor.predict_to(gray_files, path)
    assert path.read_bytes() == unbroken.read_bytes()
    assert (written.images, written.errors, len(rows)) == (70, 1, 70 - 32 * batches)


def test_predict_to_continues_with_iterator(predictor: Predictor, gray_files: list[str], tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    interrupt(predictor, iter(gray_files), path)
    assert predictor.predict_to(iter(gray_files), path).images == 70
    predictor.predict_to(gray_files, tmp_path / "unbroken.csv")
    assert path.read_bytes() == (tmp_path / "unbroken.csv").read_bytes()


@pytest.mark.parametrize("change", ["other model", "other calibration", "without probabilities", "other files"])
def test_predict_to_does_not_continue_other_rows(
    predictor: Predictor, gray_files: list[str], tmp_path: Path, change: str
) -> None:
    path = tmp_path / "out.csv"
    interrupt(predictor, gray_files, path)
    options = {"probabilities": change != "without probabilities"}
    slope = 2.0 if change == "other model" else 1.0
    calibration = Calibration(temperature=2.0) if change == "other calibration" else None
    arguments = brightness_model(slope), ["dark", "bright"], ImageSpec((48, 48))
    other = Predictor(*arguments, activation="sigmoid", calibration=calibration)
    files = gray_files[1:] if change == "other files" else gray_files
    other.predict_to(files, path, **options)
    other.predict_to(files, tmp_path / "expected.csv", **options)
    assert path.read_bytes() == (tmp_path / "expected.csv").read_bytes()


def test_predict_to_continues_with_the_engine_of_the_rows(
    predictor: Predictor, gray_files: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "out.csv"
    interrupt(predictor, gray_files, path)
    state = path.with_name("out.csv.partial.json")
    values = json.loads(state.read_text())
    state.write_text(json.dumps({**values, "engines": ["keras"]}))
    used = []
    with pytest.MonkeyPatch.context() as patch:
        compiled = engines.compile_engine

        def recording(*args: Any, engine: str, **options: Any) -> Any:
            used.append(engine)
            return compiled(*args, engine=engine, **options)

        patch.setattr(engines, "compile_engine", recording)
        predictor.predict_to(gray_files, path)
    assert used == ["keras"] and predictor.engine == "auto"


def test_predict_to_path_with_line_break_and_quotes(predictor: Predictor, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    names = ['a"b.png', "a\nb.png", "a,b.png", os.fsdecode(b"\xff.png"), *(f"{index}.png" for index in range(60))]
    for name in names:
        Image.new("RGB", (4, 4)).save(folder / name)
    files = [str(folder / name) for name in names]
    path = tmp_path / "out.csv"
    interrupt(predictor, files, path)
    rows = []
    with pytest.MonkeyPatch.context() as patch:
        write = PartialTable.write
        patch.setattr(PartialTable, "write", lambda self, new: (rows.extend(new), write(self, new)))
        predictor.predict_to(files, path)
    assert len(rows) == 32
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as stream:
        assert [row["path"] for row in csv.DictReader(stream)] == files


def test_predict_to_arrays_and_single_image(predictor: Predictor, gray_files: list[str], tmp_path: Path) -> None:
    arrays = np.stack([np.full((9, 9, 3), level, np.uint8) for level in (0, 255)])
    assert predictor.predict_to(arrays, tmp_path / "a.jsonl").images == 2
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == ["dark", "bright"] and rows[0]["path"] is None
    assert predictor.predict_to(gray_files[0], tmp_path / "b.csv").images == 1
    assert predictor.predict_to([], tmp_path / "c.csv").images == 0
    assert (tmp_path / "c.csv").read_text() == "path,label,probability,error,p(dark),p(bright)\n"


def test_predict_to_calibrated_columns(gray_files: list[str], tmp_path: Path) -> None:
    calibration = Calibration(min_confidence=0.9, coverage=0.9, set_threshold=0.3)
    arguments = brightness_model(), ["dark", "bright"], ImageSpec((48, 48))
    predictor = Predictor(*arguments, activation="sigmoid", calibration=calibration)
    predictor.predict_to(gray_files[:2], tmp_path / "a.csv")
    with open(tmp_path / "a.csv", newline="") as stream:
        first = next(iter(csv.DictReader(stream)))
    assert (first["is_certain"], first["label_set"], first["in_distribution"]) == ("true", '["dark"]', "")
    predictor.predict_to(gray_files[:2], tmp_path / "a.parquet")
    frame = pandas.read_parquet(tmp_path / "a.parquet")
    assert frame["is_certain"].tolist() == [True, True] and frame["label_set"][0].tolist() == ["dark"]


def test_predict_to_replaces_file_when_complete(predictor: Predictor, gray_files: list[str], tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("my notes")
    interrupt(predictor, gray_files, path)
    assert path.read_text() == "my notes"


@pytest.mark.parametrize("name", ["out.txt", "out", "out.csvv"])
def test_predict_to_other_extension_raises(predictor: Predictor, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"`path` must end in \.csv, \.jsonl or \.parquet\. Received: .*out"):
        predictor.predict_to([], tmp_path / name)


def test_predict_to_of_iterator_keeps_few_in_memory(predictor: Predictor, tmp_path: Path) -> None:
    taken = []

    def frames() -> Iterator[np.ndarray]:
        for level in range(200):
            taken.append(level)
            yield np.full((9, 9, 3), level, np.uint8)

    ahead = []
    with pytest.MonkeyPatch.context() as patch:
        write = PartialTable.write
        patch.setattr(PartialTable, "write", lambda self, rows: (ahead.append(len(taken)), write(self, rows)))
        assert predictor.predict_to(frames(), tmp_path / "out.csv").images == 200
    assert ahead[0] <= 4 * 32


_KILLED = """
import sys, time
from transferkit.prediction.partial_table import PartialTable
import transferkit as tk
from transferkit import engines
write, written = PartialTable.write, []
def write_slowly(self, rows):
    write(self, rows); written.append(1)
    if len(written) == 1:
        print("written", flush=True); time.sleep(60)
PartialTable.write = write_slowly
tk.load(sys.argv[1], engine="keras").predict_to(sys.argv[2], sys.argv[3])
"""


def test_predict_to_continues_after_sigkill(gray_files: list[str], tmp_path: Path) -> None:
    arguments = brightness_model(), ["dark", "bright"], ImageSpec((48, 48))
    predictor = Predictor(*arguments, activation="sigmoid", engine="keras")
    folder = save_classifier(tmp_path / "classifier", predictor)
    path = tmp_path / "out.csv"
    command = [sys.executable, "-c", _KILLED, str(folder), str(tmp_path / "images"), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    partial = path.with_name("out.csv.partial")
    assert len(partial.read_text().splitlines()) == 33
    tk.load(folder, engine="keras").predict_to(tmp_path / "images", path)
    assert len(path.read_text().splitlines()) == 71 and not partial.exists()
