"""Precision, recall, F1, averages and top-k accuracy, by hand and against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from tests.evaluation.random_outcomes import SEEDS, random_outcomes
from transferkit.evaluation.classification import (
    ClassCounts,
    average_metrics,
    class_counts,
    class_metrics,
    confusion_matrix,
    group_sums,
    in_top_k,
    ratio,
)
from transferkit.evaluation.outcomes import Outcomes, predict_labels

# Three classes; the third has predictions and no images, the fourth neither.
COUNTS = ClassCounts(np.array([3, 1, 0, 0]), np.array([4, 1, 2, 0]), np.array([5, 2, 0, 0]))


def outcomes_of(labels: list[Any], probabilities: list[list[float]]) -> Outcomes:
    array = np.array(labels)
    return Outcomes(array, np.array(probabilities), predict_labels(np.array(probabilities), array.ndim == 2))


def test_class_metrics_by_hand() -> None:
    found = class_metrics(COUNTS)
    assert found["precision"].tolist() == [3 / 4, 1, 0, 0]
    assert found["recall"].tolist() == [3 / 5, 1 / 2, 0, 0]
    assert found["f1"] == pytest.approx([2 / 3, 2 / 3, 0, 0])


def test_average_metrics_by_hand() -> None:
    found = average_metrics(COUNTS)
    # Macro leaves out the class without images and predictions, balanced also the one without images.
    assert found["macro"]["precision"] == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert found["balanced"]["recall"] == pytest.approx((3 / 5 + 1 / 2) / 2)
    assert found["weighted"]["recall"] == pytest.approx((5 * 3 / 5 + 2 * 1 / 2) / 7)
    assert found["micro"] == {"precision": 4 / 7, "recall": 4 / 7, "f1": 4 / 7}


def test_average_metrics_of_samples_are_those_of_each_sample() -> None:
    other = ClassCounts(*(counts[::-1].copy() for counts in COUNTS))
    both = average_metrics(ClassCounts(*(np.stack(pair) for pair in zip(COUNTS, other))))
    for average, row in average_metrics(other).items():
        for name, value in row.items():
            assert both[average][name][1] == pytest.approx(value)


@given(SEEDS, st.integers(2, 6), st.integers(1, 30), st.booleans())
def test_class_metrics_match_scikit_learn(seed: int, classes: int, images: int, multi_label: bool) -> None:
    absent = seed % classes
    outcomes = random_outcomes(seed, classes=classes, images=images, multi_label=multi_label, absent=absent)
    counts = class_counts(outcomes)
    reference = metrics.precision_recall_fscore_support(
        outcomes.labels, outcomes.predictions, labels=range(classes), zero_division=0
    )
    for ours, theirs in zip([*class_metrics(counts).values(), counts.support], reference):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@given(SEEDS, st.integers(2, 6), st.integers(1, 30), st.booleans())
def test_average_metrics_match_scikit_learn(seed: int, classes: int, images: int, multi_label: bool) -> None:
    absent = seed % classes
    outcomes = random_outcomes(seed, classes=classes, images=images, multi_label=multi_label, absent=absent)
    counts = class_counts(outcomes)
    averages = average_metrics(counts)
    used = np.flatnonzero(counts.support + counts.predicted)
    for average, columns in (("macro", used), ("balanced", np.flatnonzero(counts.support))):
        check_average(outcomes, averages[average], columns, "macro")
    for average in ("weighted", "micro"):
        check_average(outcomes, averages[average], used, average)


def check_average(outcomes: Outcomes, ours: dict[str, Any], columns: np.ndarray, average: str) -> None:
    if not len(columns):
        assert list(ours.values()) == [0, 0, 0]
        return
    theirs = metrics.precision_recall_fscore_support(
        outcomes.labels, outcomes.predictions, labels=columns, average=average, zero_division=0
    )
    np.testing.assert_allclose(list(ours.values()), theirs[:3], atol=1e-12)


@given(SEEDS, st.booleans())
def test_class_counts_of_weights_match_repeated_images(seed: int, multi_label: bool) -> None:
    outcomes = random_outcomes(seed, multi_label=multi_label)
    weights = np.random.default_rng(seed).integers(0, 3, (2, 40)).astype(float)
    found = class_counts(outcomes, weights)
    for sample, row in enumerate(weights.astype(int)):
        expected = class_counts(outcomes.take(np.repeat(np.arange(40), row)))
        for ours, theirs in zip(found, expected):
            np.testing.assert_array_equal(ours[sample], theirs)


@given(SEEDS)
def test_confusion_matrix_matches_scikit_learn(seed: int) -> None:
    outcomes = random_outcomes(seed, absent=1)
    expected = metrics.confusion_matrix(outcomes.labels, outcomes.predictions, labels=range(4))
    np.testing.assert_array_equal(confusion_matrix(outcomes.labels, outcomes.predictions, 4), expected)


def test_group_sums_of_absent_groups_are_0() -> None:
    weights = np.array([[1.0, 2, 3], [4, 5, 6]])
    assert group_sums(weights, np.array([2, 0, 2]), 4).tolist() == [[2, 0, 4, 0], [5, 0, 10, 0]]
    assert group_sums(weights[:, :0], np.array([], int), 2).tolist() == [[0, 0], [0, 0]]


def test_in_top_k_by_hand() -> None:
    outcomes = outcomes_of([0, 1, 2], [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    assert [in_top_k(outcomes, k).tolist() for k in (1, 2, 3, 9)] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
        [True, True, True],
    ]


def test_in_top_k_multi_label_needs_one_label() -> None:
    outcomes = outcomes_of([[1, 0, 1], [0, 0, 1], [0, 0, 0]], [[0.9, 0.5, 0.1]] * 3)
    assert in_top_k(outcomes, 1).tolist() == [True, False, False]
    assert in_top_k(outcomes, 3).tolist() == [True, True, False]


@given(SEEDS, st.integers(1, 5))
def test_in_top_k_matches_scikit_learn_with_ties(seed: int, k: int) -> None:
    outcomes = random_outcomes(seed, classes=6, absent=seed % 3)
    # Of equal probabilities scikit-learn takes the last classes, we the first ones, as argmax does.
    reference = metrics.top_k_accuracy_score(
        5 - outcomes.labels, outcomes.probabilities[:, ::-1], k=k, labels=range(6), normalize=False
    )
    assert in_top_k(outcomes, k).sum() == reference
    assert in_top_k(outcomes, 1).tolist() == outcomes.correct.tolist()


def test_ratio_with_denominator_0_is_0() -> None:
    assert ratio(np.array([1, 1]), np.array([0, 2])).tolist() == [0, 0.5]
