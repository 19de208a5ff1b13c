"""Reports on predicted numbers: values by hand, equality with scikit-learn and SciPy, intervals, outputs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

import transferkit as tk
from transferkit.evaluation.regression_metrics import METRICS, regression_metric

# Residuals 1, 0, -1, 4.
LABELS, PREDICTIONS = [1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 8.0]

REFERENCES = {
    "mean_absolute_error": metrics.mean_absolute_error,
    "root_mean_squared_error": metrics.root_mean_squared_error,
    "median_absolute_error": metrics.median_absolute_error,
    "r2": metrics.r2_score,
    "pearson": lambda labels, predictions: stats.pearsonr(labels, predictions)[0],
    "spearman": lambda labels, predictions: stats.spearmanr(labels, predictions)[0],
}


@pytest.fixture
def report() -> tk.RegressionReport:
    return tk.RegressionReport(LABELS, PREDICTIONS, loss=0.5, paths=["a", "b", "c", "d"])


def test_values_by_hand(report: tk.RegressionReport) -> None:
    assert report.residuals.tolist() == [1, 0, -1, 4]
    assert report.mean_absolute_error == 1.5
    assert report.root_mean_squared_error == math.sqrt(18 / 4)
    assert report.median_absolute_error == 1.0
    # The sum of squares around the mean of 2.5 is 5.
    assert report.r2 == pytest.approx(1 - 18 / 5)
    # Products of the distances: 2.25 + 0.75 - 0.75 + 6.75 = 9; squares of the predictions: 3 * 1.5^2 + 4.5^2 = 27.
    assert report.pearson == pytest.approx(9 / math.sqrt(5 * 27))
    # Ranks of the predictions 2, 2, 2, 4: 0.75 + 0.25 - 0.25 + 2.25 = 3; squares: 3 * 0.5^2 + 1.5^2 = 3.
    assert report.spearman == pytest.approx(3 / math.sqrt(5 * 3))


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("count", [7, 40])
def test_metrics_of_resampled_images_equal_references(name: str, count: int) -> None:
    generator = np.random.default_rng(count)
    labels = generator.integers(0, 9, count).astype(float)
    predictions = np.round(labels + generator.normal(0, 2, count))
    weights = np.stack([np.ones(count), np.bincount(generator.integers(count, size=count), minlength=count)])
    found = regression_metric(name, labels, predictions)(weights)
    for row, value in zip(weights.astype(int), found):
        assert value == pytest.approx(REFERENCES[name](np.repeat(labels, row), np.repeat(predictions, row)))


@pytest.mark.parametrize("name", METRICS)
def test_interval_contains_the_value_and_is_reproducible(name: str) -> None:
    generator = np.random.default_rng(1)
    labels = generator.normal(size=200)
    report = tk.RegressionReport(labels, labels + generator.normal(0, 0.5, 200))
    low, high = report.confidence_interval(name)
    assert low < getattr(report, name) < high
    assert report.confidence_interval(name) == (low, high) != report.confidence_interval(name, seed=1)


def test_equal_labels_have_no_r2_and_no_correlation(tmp_path: Path) -> None:
    report = tk.RegressionReport([3, 3], [2, 4])
    assert math.isnan(report.r2) and math.isnan(report.pearson) and math.isnan(report.spearman)
    report.to_json(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["r2"] is None


def test_mistakes_are_ordered_by_error(report: tk.RegressionReport) -> None:
    assert report.mistakes(1) == [{"index": 3, "path": "d", "label": 4.0, "prediction": 8.0, "residual": 4.0}]
    assert [row["index"] for row in report.mistakes(None)] == [3, 0, 2, 1]


def test_outputs(report: tk.RegressionReport, tmp_path: Path) -> None:
    report.to_json(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == pytest.approx(report.to_dict())
    low, high = report.confidence_interval(samples=1000)
    row = next(line for line in repr(report).splitlines() if line.startswith("mean absolute error"))
    assert row.split()[3:] == ["1.5", f"[{low:.4g},", f"{high:.4g}]"]
    report.to_html(tmp_path / "report.html")
    assert f"[{low:.4g}, {high:.4g}]" in (tmp_path / "report.html").read_text()
    assert report.to_dataframe().to_dict("list")["residual"] == [1, 0, -1, 4]
    report.plot(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([], [], "at least one image"),
        ([1, 2], [1], r"Received: labels \(2,\) and predictions \(1,\)"),
        ([1, math.nan], [1, 2], "`labels` must be finite. Received: nan for image 1"),
        ([1, 2], [math.inf, 2], "`predictions` must be finite. Received: inf for image 0"),
    ],
)
def test_invalid_numbers_are_refused(labels: list[float], predictions: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tk.RegressionReport(labels, predictions)


def test_invalid_arguments_are_refused(report: tk.RegressionReport) -> None:
    with pytest.raises(ValueError, match="`paths` must contain one path per image. Received: 1 for 2 images"):
        tk.RegressionReport([1, 2], [1, 2], paths=["a"])
    with pytest.raises(ValueError, match="`metric` must be one of 'mean_absolute_error'"):
        report.confidence_interval("accuracy")
