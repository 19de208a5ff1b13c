"""compare_reports: tables, pairwise tests and a plot of several reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import transferkit as tk
from tests.evaluation.test_paired_comparison import report_of

GENERATOR = np.random.default_rng(0)
REPORTS = {
    "<b>": report_of(GENERATOR.random(100) < 0.6),
    "best": report_of(GENERATOR.random(100) < 0.95, loss=0.2),
    "second": report_of(GENERATOR.random(100) < 0.8),
}


def test_compare_reports_scores() -> None:
    comparison = tk.compare_reports(REPORTS)
    assert [score.name for score in comparison] == ["best", "second", "<b>"]
    best = comparison[0]
    assert best.value == REPORTS["best"].accuracy == best.metrics["accuracy"]
    assert best.interval == REPORTS["best"].confidence_interval()
    assert best.metrics["macro_f1"] == pytest.approx(REPORTS["best"].averages["macro"]["f1"])
    assert (comparison.metric, comparison.level) == ("accuracy", 0.95)


def test_compare_reports_pairs_are_those_of_compare() -> None:
    comparison = tk.compare_reports(REPORTS, samples=300, seed=4)
    assert [(pair.first, pair.second) for pair in comparison.pairs] == [
        ("best", "second"),
        ("best", "<b>"),
        ("second", "<b>"),
    ]
    for pair in comparison.pairs:
        assert pair.comparison == REPORTS[pair.first].compare(REPORTS[pair.second], samples=300, seed=4)
        assert pair.comparison.p_value <= pair.adjusted_p_value <= 3 * pair.comparison.p_value
    smallest = min(comparison.pairs, key=lambda pair: pair.comparison.p_value)
    assert smallest.adjusted_p_value == pytest.approx(3 * smallest.comparison.p_value)


def test_compare_reports_smaller_is_better_for_errors() -> None:
    comparison = tk.compare_reports(REPORTS, metric="brier_score", samples=20)
    values = [score.value for score in comparison]
    assert values == sorted(values) and comparison.pairs[0].comparison.difference < 0


def test_compare_reports_of_list_are_numbered() -> None:
    comparison = tk.compare_reports(list(REPORTS.values()), samples=20)
    assert {score.name for score in comparison} == {"report 1", "report 2", "report 3"}


def test_compare_reports_text_and_html() -> None:
    comparison = tk.compare_reports(REPORTS, level=0.9, samples=20)
    lines = repr(comparison).splitlines()
    assert lines[0].split() == [
        *("report", "accuracy", "0.9", "interval", "balanced", "accuracy", "macro", "f1", "roc", "auc"),
        *("calibration", "error", "loss"),
    ]
    assert lines[1].startswith("best") and lines[1].endswith("0.2000")
    assert lines[5].split()[:3] == ["pair", "difference", "interval"] and lines[6].startswith("best - second")
    page = comparison._repr_html_()
    assert page.count("<table>") == 2 and "&lt;b&gt;" in page and "<b>" not in page


def test_compare_reports_to_dicts_is_json() -> None:
    rows = json.loads(json.dumps(tk.compare_reports(REPORTS, metric="macro_f1", samples=20).to_dicts()))
    assert rows[0]["name"] == "best" and rows[0]["loss"] == 0.2 and rows[0]["macro_f1"] > rows[1]["macro_f1"]


def test_compare_reports_plot(tmp_path: Path) -> None:
    (axes,) = tk.compare_reports(REPORTS, samples=20).plot(tmp_path / "reports.png").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["best", "second", "<b>"]
    assert axes.get_xlabel() == "accuracy" and (tmp_path / "reports.png").is_file()


def test_compare_reports_of_many_is_short() -> None:
    many = {f"{number} with a long name that goes on and on": REPORTS["best"] for number in range(12)}
    comparison = tk.compare_reports(many, samples=5)
    assert len(comparison.pairs) == 66 and len(repr(comparison)) <= 2000


@pytest.mark.parametrize("reports", [[], [REPORTS["best"]], {"a": REPORTS["best"]}])
def test_compare_reports_too_few_raises(reports: object) -> None:
    with pytest.raises(ValueError, match=r"`reports` must contain at least two reports\. Received: [01]\."):
        tk.compare_reports(reports)  # type: ignore[arg-type]


def test_compare_reports_of_something_else_raises() -> None:
    for reports in ([REPORTS["best"], 0.9], [0.9, REPORTS["best"]]):
        with pytest.raises(TypeError, match=r"must be of class Report\. Received: float"):
            tk.compare_reports(reports)  # type: ignore[list-item]


def test_compare_reports_of_other_images_raises() -> None:
    with pytest.raises(ValueError, match="must be of the same images"):
        tk.compare_reports([REPORTS["best"], report_of(np.ones(7, bool))])
