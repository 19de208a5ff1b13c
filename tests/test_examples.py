"""The examples run as a user runs them, in a folder of their own, with few images."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.waiting import TIMEOUT

EXAMPLES = Path(__file__).parents[1] / "examples"
# Text that each prints, and files that it writes; cats_dogs.py has its own tests.
EXPECTED = {
    "label_errors": ("8 of 8 exchanged labels are among the first 8", ["label_errors/inspection.html"]),
    "compare_backbones": ("EfficientNetLite0    0.9", ["compare_backbones/scores.json"]),
    "multilabel": ("images_100/0.png ['blue'", ["multilabel/images_100/labels.csv"]),
    "csv_and_metrics": ("95 % interval of the accuracy: [0.", ["csv_and_metrics/predictions.csv"]),
    "export_and_serve": ("Server: {'model': 'cats_dogs'", ["export_and_serve/cats_dogs.onnx"]),
    "quickstart": ("Prediction(label='cats'", ["quickstart/classifier/model.keras", "quickstart/report.png"]),
    "custom_backbone": ("Trained from scratch:", []),
    "fine_tune_on_ray_train": (
        "Accuracy of the saved classifier: ",
        ["fine_tune_on_ray_train/classifier/model.keras", "fine_tune_on_ray_train/checkpoint.npz"],
    ),
}
ARGUMENTS = {"quickstart": ["--backbone", "EfficientNetLite0"], "custom_backbone": ["--epochs", "2"]}


def test_all_examples_are_listed() -> None:
    programs = {path.stem for path in EXAMPLES.glob("*.py")}
    assert programs == {*EXPECTED, "cats_dogs", "search"}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_example(name: str, tmp_path: Path) -> None:
    if "ray" in name:
        pytest.importorskip("ray", reason="needs the extra `ray`")
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *ARGUMENTS.get(name, ["--quick"])]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    text, files = EXPECTED[name]
    assert text in result.stdout
    for file in files:
        assert (tmp_path / "output" / file).stat().st_size > 0


@pytest.mark.slow
def test_fine_tuning_on_ray_train_continues_after_the_loss_of_a_worker(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra `ray`")
    command = [sys.executable, str(EXAMPLES / "fine_tune_on_ray_train.py"), "--quick", "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    log = tmp_path / "losses.txt"
    while not log.exists():
        assert run.poll() is None
        time.sleep(0.02)
    workers = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.read_bytes().startswith(b"ray::RayTrainWorker")
    ]
    os.kill(workers[-1], signal.SIGKILL)
    output, _ = run.communicate(timeout=TIMEOUT)
    assert run.returncode == 0 and "Accuracy of the saved classifier: " in output
    # No epoch is lost or repeated.
    assert [line.split(":")[0] for line in log.read_text().splitlines()] == ["epoch 1", "epoch 2"]
