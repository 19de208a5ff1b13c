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


def test_report_averages(report: Report) -> None:
    averages = report.averages
    assert list(averages) == ["macro", "balanced", "weighted", "micro"]
    assert averages["macro"]["precision"] == pytest.approx((2 / 3 + 1 / 2 + 3 / 4) / 3)
    assert averages["weighted"]["recall"] == pytest.approx(6 / 9) == averages["micro"]["recall"]
    assert averages["balanced"]["recall"] == report.balanced_accuracy


def test_report_top_k(report: Report) -> None:
    # Images 2, 4 and 8 are wrong. Of the two classes with 0.1 the first one counts: the label of image 2 only.
    assert report.top_k(1) == report.accuracy
    assert report.top_k(2) == pytest.approx(7 / 9)
    assert report.top_k() == report.top_k(3) == 1
    with pytest.raises(ValueError, match="`k` must be an integer of at least 1"):
        report.top_k(0)


def test_report_curves_of_a_class(report: Report) -> None:
    positive, scores = report.labels == 2, report.probabilities[:, 2]
    np.testing.assert_array_equal(
        report.roc_curve("cow").true_positive_rate, metrics.roc_curve(positive, scores, drop_intermediate=False)[1]
    )
    precision = metrics.precision_recall_curve(positive, scores)[0]
    np.testing.assert_array_equal(report.precision_recall_curve("cow").precision, precision)


def test_report_curve_of_two_classes_is_of_the_second() -> None:
    report = Report([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], class_names=["a", "b"])
    assert (
        report.roc_curve().thresholds.tolist() == report.roc_curve("b").thresholds.tolist() == [np.inf, 0.8, 0.4, 0.1]
    )
    assert report.precision_recall_curve("a").average_precision == 1


@pytest.mark.parametrize("name", [None, "cows", 2])
def test_report_curve_of_unknown_class_raises(report: Report, name: object) -> None:
    with pytest.raises(ValueError, match=r"`class_name` must be one of the classes\. Received: ") as error:
        report.roc_curve(name)  # type: ignore[arg-type]
    assert ("Did you mean 'cow'" in str(error.value)) == (name == "cows")


def test_report_reliability(report: Report) -> None:
    assert report.reliability().counts.tolist() == [0, 0, 0, 0, 0, 0, 0, 9, 0, 0]
    assert report.reliability().accuracy[7] == pytest.approx(6 / 9)
    of_bee = report.reliability("bee", bins=2)
    assert of_bee.counts.tolist() == [7, 2] and of_bee.accuracy.tolist() == [1 / 7, 1 / 2]
    with pytest.raises(ValueError, match="`bins` must be an integer"):
        report.reliability(bins=0)


def test_report_brier_score(report: Report) -> None:
    right, wrong = 0.2**2 + 2 * 0.1**2, 0.8**2 + 0.9**2 + 0.1**2
    assert report.brier_score == pytest.approx((6 * right + 3 * wrong) / 9)


def test_report_of_one_image_and_one_class() -> None:
    report = Report([0], [[1.0]], class_names=["only"])
    assert report.accuracy == report.balanced_accuracy == report.top_k(1) == report.average_precision == 1
    assert np.isnan(report.roc_auc) and report.brier_score == report.calibration_error == 0
    assert report.confidence_interval() == (1, 1) and report.confusions() == []
    assert "1 images: accuracy 1.0000" in repr(report) and report.plot() is not None


def test_report_subset(report: Report) -> None:
    for part in (report.subset([0, 2]), report.subset(np.isin(np.arange(9), [0, 2]))):
        assert part.accuracy == 0.5 and part.paths == ("0.jpg", "2.jpg") and part.loss is None
        assert part.class_names == NAMES and type(part) is Report
    assert len(report.labels) == 9 and report.loss == 0.5
    with pytest.raises(ValueError, match="`indices` must contain an image"):
        report.subset([])


def test_report_confidence_interval_of_metrics(report: Report) -> None:
    for metric in ("accuracy", "macro_f1", "roc_auc", "brier_score"):
        low, high = report.confidence_interval(metric, samples=200)
        assert low < high and low <= report.to_dict().get(metric, report.averages["macro"]["f1"]) <= high


def test_report_confidence_interval_of_function_is_that_of_name(report: Report) -> None:
    named = report.confidence_interval("balanced_accuracy", samples=50, seed=3)
    assert report.confidence_interval(lambda part: part.balanced_accuracy, samples=50, seed=3) == named


def test_report_confidence_interval_narrows_with_level(report: Report) -> None:
    low, high = report.confidence_interval(level=0.5)
    assert report.confidence_interval(level=0.95).low < low <= report.accuracy <= high


@pytest.mark.parametrize(
    ("argument", "value"),
    [("level", 0), ("level", 1), ("level", 95), ("samples", 0), ("seed", -1), ("metric", "auc_roc")],
)
def test_report_confidence_interval_bad_value_raises(report: Report, argument: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"`{argument}` must be .* Received: {value!r}"):
        report.confidence_interval(**{argument: value})  # type: ignore[arg-type]


def test_report_misspelled_argument_raises(report: Report) -> None:
    with pytest.raises(TypeError, match=r"argument of Report.confidence_interval.* Did you mean 'samples'"):
        report.confidence_interval(sample=10)  # type: ignore[call-arg]


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
    f1 = [2 / 3, 1 / 2, 3 / 4]
    line = f"macro F1 {np.mean(f1):.4f}, weighted F1 {np.dot(f1, [3, 2, 4]) / 9:.4f}, average precision "
    assert repr(report).splitlines()[1] == f"{line}{report.average_precision:.4f}"


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


@pytest.mark.parametrize(("value", "shown"), [(float("nan"), "nan"), (1.5, "1.5"), (-0.5, "-0.5")])
def test_report_wrong_probability_raises(value: float, shown: str) -> None:
    probabilities = [[0.5, 0.5], [value, 0.5]]
    with pytest.raises(ValueError, match=rf"`probabilities` must be in \[0, 1\]\. Received: {shown} for 'b\.jpg'\."):
        Report([0, 1], probabilities, class_names=["a", "b"], paths=["a.jpg", "b.jpg"])
    with pytest.raises(ValueError, match=f"Received: {shown} for image 1"):
        Report([0, 1], probabilities, class_names=["a", "b"])


def test_report_accepts_rounded_probabilities() -> None:
    assert Report([0, 1], np.eye(2) * 1.00001, class_names=["a", "b"]).accuracy == 1


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
    labels = [axes.get_xlabel() for axes in figure.axes[1:]]
    assert labels == ["Confidence", "False positive rate", "Recall"]
    assert figure.get_suptitle().startswith(f"{len(report.labels)} images, accuracy ")


def test_report_thresholds_decide_predictions() -> None:
    probabilities = [[0.9, 0.1], [0.7, 0.3], [0.4, 0.6]]
    report = Report([0, 1, 1], probabilities, class_names=["cat", "dog"], thresholds=[0.3])
    assert report.predictions.tolist() == [0, 1, 1] and report.accuracy == 1
    assert report.subset([1]).predictions.tolist() == [1]
    several = Report(np.eye(2, dtype=int), [[0.2, 0.2], [0.1, 0.6]], class_names=["a", "b"], thresholds=[0.2, 0.7])
    assert several.predictions.tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize(
    ("thresholds", "message"), [([0.5, 0.5], "Received: 2 for 2 classes"), ([1.5], "must be in .0, 1.. Received: 1.5")]
)
def test_report_wrong_thresholds_raise(thresholds: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=f"`thresholds`.*{message}"):
        Report([0, 1], np.eye(2), class_names=["cat", "dog"], thresholds=thresholds)
