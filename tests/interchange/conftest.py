"""A folder of images, predictions for them, and an inspection with known label issues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from transferkit.inspection.inspected_images import InspectedImages
from transferkit.inspection.label_errors import score_labels
from transferkit.inspection.records import LabelIssue

NAMES = ("a 1.png", "b%2.png", "ü&3.png", "sub/d.png")


@pytest.fixture
def photos_folder(tmp_path: Path) -> Path:
    """Four images in a folder, whose names have spaces, percent signs and letters with accents."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        Image.new("RGB", (32, 32), (60 * number, 10, 200)).save(folder / name)
    return folder


@pytest.fixture
def predictions(photos_folder: Path) -> tk.Predictions:
    """Predictions of cats and dogs for the four images; the last one has an error."""
    rows = [(0.9, None), (0.4, None), (0.75, None), (None, "it is truncated")]
    classes = ("cats", "dogs")
    return tk.Predictions(
        tk.Prediction(
            str(photos_folder / name), error, classes, None if p is None else np.array([p, 1 - p], np.float32)
        )
        for name, (p, error) in zip(NAMES, rows)
    )


@pytest.fixture
def inspection(photos_folder: Path) -> Any:
    """An inspection of the four images, of which the second has a wrong label."""
    paths = [str(photos_folder / name) for name in NAMES]
    data = tk.DatasetBuilder((paths, ["cats", "cats", "dogs", "dogs"]), image_size=32, progress=False).build()
    order = [paths.index(path) for path in data.files["train"]]
    scores = score_labels(
        np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7]])[order], data.splits["train"].labels
    )
    images = InspectedImages.of(data, _Features())
    wrong = order.index(1)
    issues = [LabelIssue(images.key(wrong), "cats", "dogs", float(scores.suspicion[wrong]), True)]
    return tk.Inspection(data, issues, [], [], [], [], images, scores)


class _Features:
    def features(self, split: Any) -> np.ndarray:
        return np.eye(len(split), dtype=np.float32)
