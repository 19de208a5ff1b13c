"""The page "Use a classifier without transferkit": its code, and what it states of another reader of the files."""

from __future__ import annotations

import re
import subprocess
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import transferkit as tk

GUIDE = Path(__file__).parents[2] / "docs" / "without_transferkit.md"
CLASSIFY = """
import sys
import mediapipe
from mediapipe.tasks.python import BaseOptions, vision

options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=sys.argv[1]))
with vision.ImageClassifier.create_from_options(options) as classifier:
    result = classifier.classify(mediapipe.Image.create_from_file(sys.argv[2]))
for category in result.classifications[0].categories:
    print(category.category_name, category.score, sep="\\t")
"""


@pytest.fixture(scope="module")
def guide() -> dict[str, Any]:
    """The names that the first block of code of the page defines."""
    code = re.search(r"```python\n(import numpy.*?)```", GUIDE.read_text(), re.DOTALL)
    assert code
    names: dict[str, Any] = {}
    exec(code[1], names)
    return names


sides = st.integers(1, 300)


@given(height=sides, width=sides, new_height=st.integers(1, 80), new_width=st.integers(1, 80))
def test_formula_equals_tensorflow(
    guide: dict[str, Any], height: int, width: int, new_height: int, new_width: int
) -> None:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    resized = tf.image.resize(pixels, (new_height, new_width)).numpy()
    np.testing.assert_array_equal(guide["resize"](pixels, new_height, new_width), np.rint(resized).astype(np.uint8))


@pytest.mark.slow
def test_mediapipe_reads_metadata(predictor: tk.Predictor, images: np.ndarray, tmp_path: Path) -> None:
    tk.export(predictor, tmp_path / "model.tflite", images=images)
    # Images of the classifier's size: MediaPipe resizes others in its own way.
    Image.fromarray(images[0]).save(tmp_path / "image.png")
    venv.create(tmp_path / "environment", with_pip=True)
    python = str(tmp_path / "environment" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "mediapipe"]
    if subprocess.run(install).returncode:
        pytest.skip("mediapipe cannot be installed")
    command = [python, "-c", CLASSIFY, str(tmp_path / "model.tflite"), str(tmp_path / "image.png")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    expected = predictor.predict(images[0])
    assert rows[0][0] == expected.label
    found = {name: float(value) for name, value in rows}
    assert set(found) <= set(expected.probabilities)
    for name, value in found.items():
        assert value == pytest.approx(expected.probabilities[name], abs=1e-5)
