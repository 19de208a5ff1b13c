"""Reports: figures worked out by hand, and those of scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from transferkit.evaluation import Report, image_grid, learning_curves

NAMES = ("ant", "bee", "cow")


@pytest.fixture
def report() -> Report:
    labels = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    said = [0, 0, 1, 1, 2, 2, 2, 2, 0]
    probabilities = np.full((9, 3), 0.1)
    probabilities[np.arange(9), said] = 0.8
    return Report(labels, probabilities, class_names=NAMES, loss=0.5, paths=[f"{n}.jpg" for n in range(9)])


def test_a_confusion_matrix_by_hand(report: Report) -> None:
    assert report.confusion_matrix.tolist() == [[2, 1, 0], [0, 1, 1], [1, 0, 3]]
    assert report.accuracy == pytest.approx(6 / 9)
    assert report.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 3 / 4) / 3)
    assert report.per_class["bee"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert report.per_class["cow"]["precision"] == pytest.approx(3 / 4)


def test_the_calibration_error_by_hand(report: Report) -> None:
    # All nine answers were said with 0.8, and six of them were right.
    assert report.calibration_error == pytest.approx(abs(6 / 9 - 0.8))


def test_mistakes_come_the_most_confident_first() -> None:
    probabilities = [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]
    report = Report([1, 0, 1], probabilities, class_names=["no", "yes"], paths=["a", "b", "c"])
    assert [(row["path"], row["truth"], row["said"]) for row in report.mistakes()] == [
        ("a", "yes", "no"),
        ("b", "no", "yes"),
    ]
    assert len(report.mistakes(1)) == 1


def test_it_goes_through_json(report: Report) -> None:
    again = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert again["confusion_matrix"] == [[2, 1, 0], [0, 1, 1], [1, 0, 3]]
    assert again["loss"] == 0.5


def test_it_says_the_figures_in_text(report: Report) -> None:
    assert "accuracy 0.6667, loss 0.5000" in str(report)
    assert "bee" in str(report)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10_000))
def test_figures_agree_with_scikit_learn(classes: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), generator.integers(0, classes, 40)])
    probabilities = generator.dirichlet(np.ones(classes), len(labels)).round(2) + 1e-6
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    report = Report(labels, probabilities, class_names=[str(c) for c in range(classes)])
    said = probabilities.argmax(axis=1)
    np.testing.assert_array_equal(
        report.confusion_matrix, metrics.confusion_matrix(labels, said, labels=range(classes))
    )
    assert report.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(labels, said))
    reference = metrics.classification_report(labels, said, output_dict=True, zero_division=0)
    for name, row in report.per_class.items():
        assert row["f1"] == pytest.approx(reference[name]["f1-score"])
    scores = probabilities[:, 1] if classes == 2 else probabilities
    assert report.roc_auc == pytest.approx(metrics.roc_auc_score(labels, scores, multi_class="ovr"))


def test_several_labels_an_image() -> None:
    labels = np.array([[1, 0], [1, 1], [0, 0]])
    report = Report(labels, [[0.9, 0.7], [0.2, 0.8], [0.1, 0.1]], class_names=["sun", "sea"])
    assert report.accuracy == pytest.approx(4 / 6)
    assert report.confusion_matrix.tolist() == [[[1, 0], [1, 1]], [[1, 1], [0, 1]]]
    assert [row["said"] for row in report.mistakes()] == ["not sun", "sea"]
    assert report.per_class["sun"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}


def test_one_class_alone_has_no_curve() -> None:
    report = Report([1, 1], [[0.3, 0.7], [0.6, 0.4]], class_names=["a", "b"])
    assert np.isnan(report.roc_auc) and report.to_dict()["roc_auc"] is None


@pytest.mark.parametrize("labels", [[0], [], [[0, 1, 0]]])
def test_shapes_that_do_not_fit(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="`probabilities` must be"):
        Report(labels, [[0.5, 0.5], [0.5, 0.5]], class_names=["a", "b"])


def test_the_pictures_are_drawn(report: Report, tmp_path: Path) -> None:
    figure = report.plot(tmp_path / "report.png")
    assert figure.axes[0].get_xlabel() == "said" and (tmp_path / "report.png").stat().st_size > 5000


def test_curves_mark_the_boundary_between_phases(tmp_path: Path) -> None:
    first = {"accuracy": [0.5, 0.6], "val_accuracy": [0.4, 0.5], "loss": [1, 0.9], "val_loss": [1, 1]}
    second = {"accuracy": [0.7], "val_accuracy": [0.6], "loss": [0.8], "val_loss": [0.9]}
    figure = learning_curves([first, second], path=tmp_path / "curves.png")
    accuracy, loss = figure.axes
    assert [list(line.get_ydata()) for line in accuracy.lines[1:]] == [[0.5, 0.6, 0.7], [0.4, 0.5, 0.6]]
    assert list(accuracy.lines[0].get_xdata()) == [2.5, 2.5]
    assert len(learning_curves([first]).axes[1].lines) == 2
    assert (tmp_path / "curves.png").is_file() and loss.get_ylabel() == "loss"


def test_a_grid_marks_what_was_wrong(tmp_path: Path) -> None:
    images = np.zeros((4, 8, 8, 3), np.uint8)
    figure = image_grid(images, ["a", "b", "c", "d"], path=tmp_path / "grid.png", wrong=[False, True, False, False])
    assert [axes.get_title() for axes in figure.axes] == ["a", "b (wrong)", "c", "d", "", ""]
    with pytest.raises(ValueError, match="`columns` must be an integer of at least 1. Received: 0"):
        image_grid(images, ["a"], columns=0)
