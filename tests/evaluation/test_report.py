"""Metrics of reports, against values computed by hand and with scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from transferkit.evaluation import Report

NAMES = ("ant", "bee", "cow")


@pytest.fixture
def report() -> Report:
    labels = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    predicted = [0, 0, 1, 1, 2, 2, 2, 2, 0]
    probabilities = np.full((9, 3), 0.1)
    probabilities[np.arange(9), predicted] = 0.8
    return Report(labels, probabilities, class_names=NAMES, loss=0.5, paths=[f"{n}.jpg" for n in range(9)])


def test_report_confusion_matrix_and_metrics(report: Report) -> None:
    assert report.confusion_matrix.tolist() == [[2, 1, 0], [0, 1, 1], [1, 0, 3]]
    assert report.accuracy == pytest.approx(6 / 9)
    assert report.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 3 / 4) / 3)
    assert report.per_class["bee"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert report.per_class["cow"]["precision"] == pytest.approx(3 / 4)


def test_report_calibration_error(report: Report) -> None:
    # All nine predictions have a confidence of 0.8, and six are correct.
    assert report.calibration_error == pytest.approx(abs(6 / 9 - 0.8))


def test_report_mistakes_are_sorted_by_confidence() -> None:
    probabilities = [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]
    report = Report([1, 0, 1], probabilities, class_names=["no", "yes"], paths=["a", "b", "c"])
    assert [(row["path"], row["true_label"], row["predicted_label"]) for row in report.mistakes()] == [
        ("a", "yes", "no"),
        ("b", "no", "yes"),
    ]
    assert len(report.mistakes(1)) == 1


def test_report_to_dict_is_json(report: Report) -> None:
    loaded = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert loaded["confusion_matrix"] == [[2, 1, 0], [0, 1, 1], [1, 0, 3]]
    assert loaded["loss"] == 0.5


def test_report_repr_contains_metrics(report: Report) -> None:
    assert "accuracy 0.6667, loss 0.5000" in str(report)
    assert "bee       0.5000  0.5000  0.5000       2" in str(report)
    assert repr(report) == str(report)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10_000))
def test_report_metrics_match_scikit_learn(classes: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), generator.integers(0, classes, 40)])
    probabilities = generator.dirichlet(np.ones(classes), len(labels)).round(2) + 1e-6
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    report = Report(labels, probabilities, class_names=[str(c) for c in range(classes)])
    predicted = probabilities.argmax(axis=1)
    np.testing.assert_array_equal(
        report.confusion_matrix, metrics.confusion_matrix(labels, predicted, labels=range(classes))
    )
    assert report.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    reference = metrics.classification_report(labels, predicted, output_dict=True, zero_division=0)
    for name, row in report.per_class.items():
        assert row["f1"] == pytest.approx(reference[name]["f1-score"])
    scores = probabilities[:, 1] if classes == 2 else probabilities
    assert report.roc_auc == pytest.approx(metrics.roc_auc_score(labels, scores, multi_class="ovr"))


def test_report_multi_label() -> None:
    labels = np.array([[1, 0], [1, 1], [0, 0]])
    report = Report(labels, [[0.9, 0.7], [0.2, 0.8], [0.1, 0.1]], class_names=["sun", "sea"])
    assert report.accuracy == pytest.approx(4 / 6)
    assert report.confusion_matrix.tolist() == [[[1, 0], [1, 1]], [[1, 1], [0, 1]]]
    assert [row["predicted_label"] for row in report.mistakes()] == ["not sun", "sea"]
    assert [row["true_label"] for row in report.mistakes()] == ["sun", "not sea"]
    assert [row["probability"] for row in report.mistakes()] == pytest.approx([0.8, 0.7])
    assert report.per_class["sun"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}


def test_report_roc_auc_of_one_class_is_nan() -> None:
    report = Report([1, 1], [[0.3, 0.7], [0.6, 0.4]], class_names=["a", "b"])
    assert np.isnan(report.roc_auc) and report.to_dict()["roc_auc"] is None


@pytest.mark.parametrize("labels", [[0], [], [[0, 1, 0]]])
def test_report_wrong_shape_raises(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="`probabilities` must be"):
        Report(labels, [[0.5, 0.5], [0.5, 0.5]], class_names=["a", "b"])


def test_report_wrong_number_of_paths_raises() -> None:
    with pytest.raises(ValueError, match="`paths` must contain one path per image. Received: 1 for 2 images"):
        Report([0, 1], [[0.5, 0.5], [0.5, 0.5]], class_names=["a", "b"], paths=["a"])


@pytest.mark.parametrize("name", ["class {}", "long " * 20 + "{}"])
def test_report_repr_of_many_classes_is_short(name: str) -> None:
    names = [name.format(number) for number in range(1000)]
    text = repr(Report(np.arange(1000), np.eye(1000), class_names=names))
    shown = [line for line in text.splitlines() if line.endswith(" 1")]
    assert len(text) <= 2000 and len(shown) > 20
    assert text.splitlines()[-1] == f"... and {1000 - len(shown)} more classes"


@pytest.mark.parametrize("multi_label", [False, True])
def test_report_plot(report: Report, tmp_path: Path, multi_label: bool) -> None:
    if multi_label:
        report = Report(np.eye(3, dtype=int), np.full((3, 3), 0.6), class_names=NAMES)
    figure = report.plot(tmp_path / "report.png")
    assert figure.axes[0].get_ylabel() == "True label" and (tmp_path / "report.png").stat().st_size > 5000
    assert figure.axes[0].get_xlabel() == ("" if multi_label else "Predicted label")
    assert figure.get_suptitle().startswith(f"{len(report.labels)} images, accuracy ")
