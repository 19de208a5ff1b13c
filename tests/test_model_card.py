"""Model cards of saved classifiers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

import transferkit as tk
from transferkit.calibration import Calibration
from transferkit.model_card import CARD_FILE, CardContents, card_text, write_model_card

TRAINING = {
    "seed": 3,
    "images": {"<b>cat|": 1200, "dog_*": 7},
    "phases": [{"name": "frozen", "history": {"loss": [0.5, 0.4]}, "learning_rate": 1e-3}],
    "versions": {"keras": "3.8.0"},
}


@pytest.fixture
def report() -> tk.Report:
    labels = np.array([0] * 95 + [1] * 5)
    scores = np.where(labels == 1, 0.9, 0.2)
    scores[:5] = 0.7
    return tk.Report(labels, np.stack([1 - scores, scores], axis=1), class_names=["<b>cat|", "dog_*"])


def contents(report: tk.Report | None = None, calibration: Calibration | None = None) -> CardContents:
    return CardContents('my "model"', ("<b>cat|", "dog_*"), (160, 96), TRAINING, calibration, report)


def metadata(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def test_card_metadata(report: tk.Report) -> None:
    values = metadata(card_text(contents(report)))
    assert values["library_name"] == "keras" and values["pipeline_tag"] == "image-classification"
    [entry] = values["model-index"]
    assert entry["name"] == 'my "model"'
    [result] = entry["results"]
    assert result["task"] == {"type": "image-classification"}
    assert result["metrics"][0] == {"type": "accuracy", "name": "accuracy", "value": 0.95}


def test_card_without_report_has_no_results() -> None:
    text = card_text(contents())
    assert "model-index" not in metadata(text) and "No report was given" in text


def test_card_shows_metrics_with_intervals(report: tk.Report) -> None:
    text = card_text(contents(report))
    low, high = report.confidence_interval(samples=1000)
    assert f"| accuracy | 0.9500 | {low:.4f} to {high:.4f} |" in text
    assert "On 100 images" in text and "1,207 images were trained on." in text and "| frozen | 2 | 0.001 |" in text
    assert "Fewer than 10 images evaluate the classes dog\\_\\*." in text
    assert "5.3% of the images of &lt;b&gt;cat\\| are predicted as dog\\_\\*." in text


def test_card_escapes_names(report: tk.Report) -> None:
    text = card_text(contents(report))
    assert "<b>" not in text and not re.search(r"[^\\]\|[^ \n]", text)


def test_card_describes_calibration(report: tk.Report) -> None:
    assert "The probabilities were not calibrated." in card_text(contents(report))
    calibration = Calibration(1.5, min_confidence=0.8, coverage=0.9, set_threshold=0.2, num_images=50, max_distance=0.3)
    text = card_text(contents(report, calibration))
    assert "Calibrated on 50 images: temperature 1.500; predictions below 0.800 are uncertain; label sets" in text
    assert "check `prediction.in_distribution`" in text


def test_card_that_the_user_changed_is_kept(tmp_path: Path, report: tk.Report) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    write_model_card(first, first, contents())
    write_model_card(second, first, contents(report))
    assert "On 100 images" in (second / CARD_FILE).read_text()
    changed = (first / CARD_FILE).read_text().replace("# my", "# Our")
    (first / CARD_FILE).write_text(changed)
    write_model_card(second, first, contents(report))
    assert (second / CARD_FILE).read_text() == changed
