"""The examples run as a user runs them, in a folder of their own, with few images."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
}
ARGUMENTS = {"quickstart": ["--backbone", "EfficientNetLite0"], "custom_backbone": ["--epochs", "2"]}


def test_all_examples_are_listed() -> None:
    programs = {path.stem for path in EXAMPLES.glob("*.py")}
    assert programs == {*EXPECTED, "cats_dogs", "search"}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_example(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *ARGUMENTS.get(name, ["--quick"])]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    text, files = EXPECTED[name]
    assert text in result.stdout
    for file in files:
        assert (tmp_path / "output" / file).stat().st_size > 0
