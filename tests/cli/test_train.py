"""`transferkit train`: its folder, the repetition of a run, and interruptions."""

from __future__ import annotations

import functools
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.cli.conftest import TRAIN, Command
from tests.waiting import TIMEOUT, wait_until

FILES = {"README.md", "config.toml", "curves.png", "evaluation.png", "model.keras", "report.html", "transferkit.json"}


def probabilities(folder: Path, images: Path) -> np.ndarray:
    return np.array([one.probability_array for one in tk.load(folder, engine="keras").predict(images)])


def test_folder_of_a_run(run_folder: Path, synthetic: Path) -> None:
    assert {path.name for path in run_folder.iterdir()} == FILES
    predictor = tk.load(run_folder)
    assert predictor.class_names == ("cats", "dogs") and predictor.image_spec.image_size == (32, 32)
    assert predictor.predict(synthetic / "validation" / "cats" / "cat.0.jpg").label in ("cats", "dogs")
    assert (run_folder / "README.md").read_text().count("# run") == 1
    assert "<html" in (run_folder / "report.html").read_text()[:200]


def test_config_repeats_the_run(
    run_folder: Path, synthetic: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = command.json("train", "--config", run_folder / "config.toml", "--out", "again")
    assert (result["folder"], result["split"], result["epochs"]) == ("again", "test", 3)
    assert result["report"]["images"] == 10
    expected = probabilities(run_folder, synthetic)
    np.testing.assert_array_equal(probabilities(tmp_path / "again", synthetic), expected)
    assert (tmp_path / "again" / "config.toml").read_text() == (run_folder / "config.toml").read_text()


def test_config_has_defaults_of_the_api(run_folder: Path, synthetic: Path) -> None:
    lines = (run_folder / "config.toml").read_text().splitlines()
    for expected in (
        f'data = "{synthetic}"',
        "epochs = 3",
        "image_size = [32]",
        "batch_size = 32",
        'optimizer = "adam"',
        "dropout = 0.2",
    ):
        assert expected in lines
    assert not any(line.startswith("blocks") for line in lines)


@pytest.mark.slow
def test_next_commands_and_default_validation(synthetic: Path, tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "my run"
    lines = command.lines("train", synthetic / "train", *TRAIN, "--fine-tune-epochs", 1, "--blocks", 1, "--out", folder)
    assert "accuracy" in lines[0] and "validation images" in lines[0]
    assert f"  transferkit predict '{folder}' new_photos/" in lines
    assert "validation = 0.2" in (folder / "config.toml").read_text()
    phases = json.loads((folder / "transferkit.json").read_text())["training"]["phases"]
    assert [phase["name"] for phase in phases] == ["frozen", "fine-tuning"]


@pytest.mark.slow
def test_real_photos(photos: Path, tmp_path: Path, command: Command) -> None:
    options = ["--backbone", "EfficientNetLite0", "--image-size", 128, "--epochs", 5, "--learning-rate", 0.003]
    result = command.json("train", photos, *options, "--out", tmp_path / "run")
    assert (result["split"], result["report"]["images"]) == ("validation", 200)
    assert result["report"]["accuracy"] > 0.93


def test_existing_folders_are_not_replaced(run_folder: Path, synthetic: Path, tmp_path: Path, command: Command) -> None:
    photos, run = tmp_path / "photos", tmp_path / "run"
    photos.mkdir()
    (photos / "README.md").write_text("mine")
    assert "is not an earlier run" in command.error("train", synthetic, *TRAIN, "--out", photos, "--overwrite")
    assert [path.name for path in photos.iterdir()] == ["README.md"]
    shutil.copytree(run_folder, run)
    assert "has an earlier run" in command.error("train", synthetic, *TRAIN, "--out", run)
    (run / "README.md").write_text("my notes")
    (run / "notes.txt").write_text("mine")
    # Exported models of the earlier classifier must not be loaded as those of the new one.
    (run / "model.onnx").write_bytes(b"earlier")
    (run / "openvino").mkdir()
    (run / "openvino" / "model.xml").write_text("earlier")
    assert command.json("train", synthetic, *TRAIN, "--epochs", 1, "--out", run, "--overwrite")["epochs"] == 1
    assert {path.name for path in run.iterdir()} == {*FILES, "notes.txt"}
    assert (run / "README.md").read_text() == "my notes" and "epochs = 1\n" in (run / "config.toml").read_text()


def test_failed_run_leaves_earlier_files(run_folder: Path, synthetic: Path, tmp_path: Path, command: Command) -> None:
    run, before = tmp_path / "run", probabilities(run_folder, synthetic)
    shutil.copytree(run_folder, run)
    arguments = ["train", synthetic, *TRAIN, "--schedule", "linear", "--overwrite", "--out"]
    assert "`schedule` must be" in command.error(*arguments, run)
    assert {path.name for path in run.iterdir()} == FILES
    np.testing.assert_array_equal(probabilities(run, synthetic), before)
    assert "`schedule` must be" in command.error(*arguments, tmp_path / "new")
    assert not (tmp_path / "new").exists()


# Each epoch takes a fifth of a second, so that none of the signals comes after the last one.
_TRAIN_SLOWLY = """
import signal, sys, time
from tests.cli.conftest import register_small
from transferkit.cli.main import main
from transferkit.training.checkpoint import Checkpoint

save = Checkpoint.save

def save_slowly(*arguments, **options):
    save(*arguments, **options)
    time.sleep(0.2)

Checkpoint.save = save_slowly
# A shell starts background processes with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
register_small()
sys.exit(main())
"""


def train_in_background(*arguments: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _TRAIN_SLOWLY, "train", *map(str, arguments)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_epoch(process: subprocess.Popen[str], folder: Path) -> None:
    checkpoint = folder / "checkpoints" / "phase-0.npz"
    wait_until(lambda: checkpoint.is_file() or process.poll() is not None)
    assert process.poll() is None


@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_interrupted_run_is_resumed(synthetic: Path, tmp_path: Path, command: Command, how: signal.Signals) -> None:
    arguments = [synthetic, *TRAIN, "--dropout", 0.5, "--epochs", 40, "--out"]
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    process = train_in_background(*arguments, stopped)
    wait_for_epoch(process, stopped)
    process.send_signal(how)
    out, error = process.communicate(timeout=TIMEOUT)
    assert out == "" and "Traceback" not in error
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert f"Continue with: transferkit train --resume --out {stopped}" in error
        assert {path.name for path in stopped.iterdir()} == {*FILES, "checkpoints"}
        phases = json.loads((stopped / "transferkit.json").read_text())["training"]["phases"]
        assert 1 <= len(phases[0]["history"]["loss"]) < 40
        assert len(tk.load(stopped).predict(synthetic)) == 60
    assert "--resume to continue it" in command.error("train", *arguments, stopped)
    assert command.json("train", "--resume", "--out", stopped)["epochs"] == 40
    assert {path.name for path in stopped.iterdir()} == FILES
    assert command.json("train", *arguments, whole)["epochs"] == 40
    np.testing.assert_array_equal(probabilities(stopped, synthetic), probabilities(whole, synthetic))
    assert "a complete run" in command.error("train", "--resume", "--out", stopped)


def interrupted(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method with the same parameters that Ctrl-C ends at once."""

    @functools.wraps(method)
    def stop(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    return stop


def test_interruption_before_the_first_epoch(
    synthetic: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tk.Trainer, "fit", interrupted(tk.Trainer.fit))
    error = command.error("train", synthetic, *TRAIN, "--out", tmp_path / "run", status=130)
    assert error.splitlines()[-1] == "transferkit train: interrupted" and "--resume" not in error
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_interruption_in_the_middle_of_a_later_epoch(
    synthetic: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    phases = [*TRAIN, "--fine-tune-epochs", 1, "--blocks", 1]
    with monkeypatch.context() as patch:
        patch.setattr(tk.Trainer, "fine_tune", interrupted(tk.Trainer.fine_tune))
        error = command.error("train", synthetic, *phases, "--out", run, status=130)
    # Weights in the middle of an epoch are not saved as a classifier.
    assert f"Continue with: transferkit train --resume --out {run}" in error
    assert {path.name for path in run.iterdir()} == {"checkpoints"}
    assert command.json("train", "--resume", "--out", run)["epochs"] == 4
