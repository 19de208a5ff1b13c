"""A changed folder replaces its model; a broken one does not."""

from __future__ import annotations

import logging
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.serving.conftest import Running, Serve
from tests.serving.fakes import FakePredictor, png
from tests.waiting import TIMEOUT, wait_until

OCTETS = {"content-type": "application/octet-stream"}


def write(folder: Path, names: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "transferkit.json").write_text(names)


def load(folder: Path) -> FakePredictor:
    names = (folder / "transferkit.json").read_text().split()
    if len(names) < 2:
        raise ValueError("it is\nbroken")
    return FakePredictor(tuple(names))


def label(running: Running) -> Any:
    response = running.client.post("/v1/predict", content=png(255), headers=OCTETS)
    assert response.status_code == 200
    return response.json()["label"]


def test_changed_folder_replaces_model(run: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "gray"
    write(folder, "a b")
    running = run({"gray": folder}, load, reload_seconds=0.05)
    version = running.client.get("/v2/models/gray").json()["versions"]
    assert label(running) == "b"
    write(folder, "c d")
    wait_until(lambda: label(running) == "d")
    assert running.client.get("/v2/models/gray").json()["versions"] != version


def test_broken_folder_keeps_model_and_logs_why(run: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "gray"
    write(folder, "a b")
    running = run({"gray": folder}, load, reload_seconds=0.05)
    with caplog.at_level(logging.ERROR, "transferkit.serving"):
        write(folder, "c")
        wait_until(lambda: "it is\\nbroken" in caplog.text)
    assert label(running) == "b"
    shutil.rmtree(folder)
    wait_until(lambda: "transferkit.json" in caplog.text)
    assert label(running) == "b"
    write(folder, "e f")
    wait_until(lambda: label(running) == "f")


def test_file_that_is_complete_later_is_loaded(run: Serve, tmp_path: Path) -> None:
    # Programs that copy folders write the metadata before or after the model.
    folder = tmp_path / "gray"
    write(folder, "a b")

    def load_when_complete(folder: Path) -> FakePredictor:
        if "c" in (folder / "transferkit.json").read_text() and not (folder / "model.keras").exists():
            raise ValueError("the model is missing")
        return load(folder)

    running = run({"gray": folder}, load_when_complete, reload_seconds=0.05)
    write(folder, "c d")
    wait_until(lambda: "failed" in running.service.metrics.to_text().decode())
    assert label(running) == "b"
    (folder / "model.keras").touch()
    wait_until(lambda: label(running) == "d")


def test_requests_during_a_load_use_the_old_model(run: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "gray"
    write(folder, "a b")
    gate = threading.Event()

    def slow_load(folder: Path) -> FakePredictor:
        predictor = load(folder)
        if predictor.class_names[0] == "c":
            assert gate.wait(TIMEOUT)
        return predictor

    running = run({"gray": folder}, slow_load, reload_seconds=0.05)
    write(folder, "c d")
    for _ in range(30):
        assert label(running) == "b"
    gate.set()
    wait_until(lambda: label(running) == "d")


def test_no_request_is_lost_while_models_change(run: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "gray"
    write(folder, "a b")
    running = run({"gray": folder}, load, reload_seconds=0.01)
    seen = set()
    finished = threading.Event()

    def replace() -> None:
        for number in range(20):
            write(folder, f"a b{number}")
            finished.wait(0.05)
        finished.set()

    thread = threading.Thread(target=replace)
    thread.start()
    while not finished.is_set():
        seen.add(label(running))
    thread.join()
    assert len(seen) > 3


def test_predictor_and_zero_seconds_are_not_watched(run: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "gray"
    write(folder, "a b")
    running = run({"gray": folder}, load, reload_seconds=0)
    assert not running.service._tasks
