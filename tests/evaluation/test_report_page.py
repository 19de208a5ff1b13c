"""The page of a report."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import transferkit as tk

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def report(tmp_path: Path) -> tk.Report:
    """A report of 12 files, the last three of which are predicted wrong."""
    (tmp_path / "<b>").mkdir()
    files = [str(tmp_path / "<b>" / f"{index}.png") for index in range(12)]
    for index, path in enumerate(files):
        Image.new("RGB", (20 + index, 16), (20 * index,) * 3).save(path)
    labels = np.array([0, 1] * 6)
    scores = np.where(labels == 1, 0.8, 0.3)
    scores[9:] = 1 - scores[9:]
    return tk.Report(
        labels, np.stack([1 - scores, scores], axis=1), class_names=[HOSTILE, "dog"], paths=files, loss=0.5
    )


def page_of(report: tk.Report, tmp_path: Path, **options: Any) -> str:
    report.to_html(tmp_path / "report.html", **options)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_page_has_all_sections(report: tk.Report, tmp_path: Path) -> None:
    page = page_of(report, tmp_path)
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert headings == [
        "Metrics",
        "Classes",
        "Confusion matrix, calibration and curves",
        "Confused classes",
        "Mistakes (3)",
        "Groups of images",
    ]
    assert HOSTILE not in page and "&lt;script&gt;alert(1)" in page and "/&lt;b&gt;/" in page
    assert page.count("data:image/png") == 2
    # Three examples of confusions, and three mistakes.
    assert page.count("data:image/jpeg") == 6
    low, high = report.confidence_interval(samples=1000)
    assert f'data-value="0.75">0.7500</td><td>[{low:.4f}, {high:.4f}]</td>' in page


def test_page_limits_mistakes(report: tk.Report, tmp_path: Path) -> None:
    page = page_of(report, tmp_path, mistakes=1)
    assert page.count("data:image/jpeg") == 4 and "Mistakes (3)" in page
    with pytest.raises(ValueError, match="`mistakes` must be an integer of at least 0. Received: -1"):
        page_of(report, tmp_path, mistakes=-1)


def test_page_without_paths_and_mistakes(tmp_path: Path) -> None:
    report = tk.Report([0, 1], [[0.9, 0.1], [0.2, 0.8]], class_names=["cat", "dog"])
    page = page_of(report, tmp_path)
    assert "Each prediction is correct." in page and "Groups of images" not in page and "jpeg" not in page


def test_page_of_independent_labels(report: tk.Report, tmp_path: Path) -> None:
    labels = np.array([[0, 1], [1, 1], [0, 0]])
    several = tk.Report(labels, [[0.2, 0.9], [0.4, 0.9], [0.1, 0.2]], class_names=["a", "b"], paths=report.paths[:3])
    page = page_of(several, tmp_path, predictor=Stub())
    assert "Mistakes (1)" in page and "not a" in page and "none, predicted none" in page


class Stub:
    """A predictor with known heat maps and features."""

    class Explanation:
        error = None

        def overlay(self) -> np.ndarray:
            return np.full((8, 8, 3), 200, np.uint8)

    def explain(self, paths: list[str]) -> list[Any]:
        return [self.Explanation() for _ in paths]

    def embed(self, paths: list[str]) -> np.ndarray:
        return np.random.default_rng(0).normal(size=(len(paths), 4))


def test_page_with_predictor_has_heat_maps_and_map(report: tk.Report, tmp_path: Path) -> None:
    page = page_of(report, tmp_path, predictor=Stub())
    assert page.count("<figcaption>why the predicted label</figcaption>") == 3
    assert page.count("<circle") == 12 and "Map of the images" in page
    assert re.findall("<option>([^<]*)", page) == ["true label", "predicted label", "mistake"]


def test_page_with_unreadable_files(report: tk.Report, tmp_path: Path) -> None:
    assert report.paths is not None
    Path(report.paths[10]).write_bytes(b"<html>")
    assert page_of(report, tmp_path).count("data:image/jpeg") == 4
