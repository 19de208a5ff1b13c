"""Mistakes and confused pairs of classes, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.random_outcomes import SEEDS, random_outcomes
from transferkit.evaluation import Report
from transferkit.evaluation.confusions import confusion_rows

NAMES = ("ant", "bee", "cow")


@pytest.fixture
def report() -> Report:
    labels, predicted = [0, 0, 0, 1, 1, 2, 2], [1, 1, 0, 1, 0, 0, 2]
    probabilities = np.full((7, 3), 0.1)
    probabilities[np.arange(7), predicted] = [0.7, 0.8, 0.8, 0.8, 0.75, 0.6, 0.8]
    return Report(labels, probabilities, class_names=NAMES, paths=[f"{n}.jpg" for n in range(7)])


def test_confusions_by_hand(report: Report) -> None:
    first, second, third = report.confusions()
    assert first == {
        "true_label": "ant",
        "predicted_label": "bee",
        "images": 2,
        "fraction": 2 / 3,
        "indices": [1, 0],
        "paths": ["1.jpg", "0.jpg"],
    }
    assert (second["true_label"], second["predicted_label"], second["fraction"]) == ("bee", "ant", 1 / 2)
    assert (third["true_label"], third["predicted_label"], third["paths"]) == ("cow", "ant", ["5.jpg"])


def test_confusions_counts_are_limited(report: Report) -> None:
    assert [row["true_label"] for row in report.confusions(2)] == ["ant", "bee"]
    assert [row["paths"] for row in report.confusions(examples=1)] == [["1.jpg"], ["4.jpg"], ["5.jpg"]]
    assert report.confusions(1, examples=0)[0]["indices"] == []
    assert len(report.confusions(None)) == 3


def test_confusions_without_paths_or_mistakes(report: Report) -> None:
    report.paths = None
    assert report.confusions(1)[0]["paths"] is None and report.confusions(1)[0]["indices"] == [1, 0]
    assert Report([0, 1], np.eye(2), class_names=["a", "b"]).confusions() == []


def test_confusions_multi_label_by_hand() -> None:
    labels = [[1, 0], [1, 0], [0, 1], [0, 1]]
    report = Report(labels, [[0.1, 0.2], [0.4, 0.9], [0.1, 0.8], [0.2, 0.3]], class_names=["sun", "sea"])
    rows = [(row["true_label"], row["predicted_label"], row["fraction"], row["indices"]) for row in report.confusions()]
    assert rows[0] == ("sun", "not sun", 1, [0, 1])
    assert sorted(rows[1:]) == [("not sea", "sea", 1 / 2, [1]), ("sea", "not sea", 1 / 2, [3])]


@pytest.mark.parametrize("options", [{"count": 0}, {"count": 1.5}, {"examples": -1}])
def test_confusions_bad_counts_raise(report: Report, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be an integer"):
        report.confusions(**options)


@given(SEEDS, st.booleans())
def test_confusions_match_confusion_matrix(seed: int, multi_label: bool) -> None:
    outcomes = random_outcomes(seed, multi_label=multi_label)
    names = ["a", "b", "c", "d"]
    rows = confusion_rows(outcomes, names, None, 100)
    assert sum(row["images"] for row in rows) == int((~outcomes.correct).sum())
    assert [row["images"] for row in rows] == sorted((row["images"] for row in rows), reverse=True)
    assert all(len(row["indices"]) == row["images"] and 0 < row["fraction"] <= 1 for row in rows)
    if not multi_label:
        matrix = Report(outcomes.labels, outcomes.probabilities, class_names=names).confusion_matrix
        for row in rows:
            true, predicted = names.index(row["true_label"]), names.index(row["predicted_label"])
            assert row["images"] == matrix[true, predicted]
            assert row["fraction"] == row["images"] / matrix[true].sum()


@given(SEEDS)
def test_mistakes_multi_label_are_all_wrong_pairs(seed: int) -> None:
    outcomes = random_outcomes(seed, multi_label=True)
    report = Report(outcomes.labels, outcomes.probabilities, class_names=["a", "b", "c", "d"])
    rows = report.mistakes()
    assert len(rows) == int((report.predictions != report.labels).sum())
    assert all(
        {row["true_label"], row["predicted_label"]} == {name, f"not {name}"}
        for row in rows
        for name in [row["true_label"].removeprefix("not ")]
    )
    assert [row["probability"] for row in rows] == sorted((row["probability"] for row in rows), reverse=True)
