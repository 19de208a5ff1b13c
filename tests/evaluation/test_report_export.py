"""Reports as dicts, JSON and DataFrames."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import transferkit as tk
from transferkit.evaluation import Report


@pytest.fixture
def report() -> Report:
    probabilities = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]
    return Report([0, 1, 1], probabilities, class_names=["cat", "dog"], loss=0.25, paths=["a", "b", "c"])


def test_to_dict_by_hand(report: Report) -> None:
    values = report.to_dict()
    assert {name: values[name] for name in ("images", "accuracy", "balanced_accuracy", "loss")} == {
        "images": 3,
        "accuracy": pytest.approx(2 / 3),
        "balanced_accuracy": 0.75,
        "loss": 0.25,
    }
    assert values["roc_auc"] == values["average_precision"] == 1
    assert values["brier_score"] == pytest.approx((0.1**2 + 0.2**2 + 0.6**2) / 3)
    assert values["averages"]["macro"]["recall"] == 0.75
    assert values["per_class"]["dog"]["support"] == 2


def test_to_json_has_the_dict(report: Report, tmp_path: Path) -> None:
    report.to_json(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(report.to_dict()))


def test_to_json_writes_null_for_nan(tmp_path: Path) -> None:
    Report([1], [[0.5, 0.5]], class_names=["a", "b"], loss=float("nan")).to_json(tmp_path / "report.json")
    values = json.loads((tmp_path / "report.json").read_text())
    assert values["roc_auc"] is None and values["loss"] is None and values["average_precision"] == 1


def test_to_dataframe_has_a_row_per_image(report: Report) -> None:
    frame = report.to_dataframe()
    assert frame.to_dict("list") == {
        "path": ["a", "b", "c"],
        "true_label": ["cat", "dog", "dog"],
        "predicted_label": ["cat", "dog", "cat"],
        "confidence": [0.9, 0.8, 0.6],
        "correct": [True, True, False],
        "p(cat)": [0.9, 0.2, 0.6],
        "p(dog)": [0.1, 0.8, 0.4],
    }


def test_to_dataframe_of_multi_label() -> None:
    report = Report([[1, 1], [0, 0]], [[0.9, 0.2], [0.1, 0.1]], class_names=["sun", "sea"])
    frame = report.to_dataframe()
    assert list(frame.columns) == ["true_label", "predicted_label", "correct", "p(sun)", "p(sea)"]
    assert frame["true_label"].tolist() == [("sun", "sea"), ()]
    assert frame["predicted_label"].tolist() == [("sun",), ()]
    assert frame["correct"].tolist() == [False, True]


def test_to_dataframe_without_pandas_names_extra(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(tk.MissingExtraError, match=r'Report\.to_dataframe requires .*"transferkit\[tables\]"'):
        report.to_dataframe()
