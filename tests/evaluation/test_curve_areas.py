"""Areas under ROC and precision-recall curves, by hand and against scikit-learn, with weights too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from tests.evaluation.random_outcomes import SEEDS, random_outcomes, random_scores
from transferkit.evaluation.curve_areas import MeanAreas, RankedScores, areas, mean_areas
from transferkit.evaluation.outcomes import Outcomes


@given(SEEDS, st.integers(3, 6), st.booleans())
def test_mean_areas_match_scikit_learn_of_present_classes(seed: int, classes: int, multi_label: bool) -> None:
    outcomes = random_outcomes(seed, classes=classes, multi_label=multi_label, absent=seed % 2)
    one_hot = np.stack([outcomes.positive(column) for column in range(classes)], axis=1)
    mixed = one_hot.any(axis=0) & ~one_hot.all(axis=0)
    found = mean_areas(outcomes)
    assert found[0] == pytest.approx(metrics.roc_auc_score(one_hot[:, mixed], outcomes.probabilities[:, mixed]))
    present = one_hot.any(axis=0)
    expected = metrics.average_precision_score(one_hot[:, present], outcomes.probabilities[:, present])
    assert found[1] == pytest.approx(expected)


@given(SEEDS)
def test_mean_areas_of_two_classes_are_those_of_the_second(seed: int) -> None:
    outcomes = random_outcomes(seed, classes=2)
    scores = outcomes.probabilities[:, 1]
    found = mean_areas(outcomes)
    assert found[0] == pytest.approx(metrics.roc_auc_score(outcomes.labels, scores))
    assert found[1] == pytest.approx(metrics.average_precision_score(outcomes.labels, scores))


@given(SEEDS)
def test_areas_of_weights_match_scikit_learn(seed: int) -> None:
    positive, scores = random_scores(seed, 30, 0.5)
    weights = np.random.default_rng(seed).integers(0, 4, (3, 30)).astype(float)
    if not positive.any():
        return
    found, precisions = RankedScores.of(positive, scores).areas(weights)
    for sample, row in enumerate(weights):
        used = row > 0
        options = {"y_true": positive[used], "y_score": scores[used], "sample_weight": row[used]}
        if positive[used].any() and not positive[used].all():
            assert found[sample] == pytest.approx(metrics.roc_auc_score(**options))
            assert precisions[sample] == pytest.approx(metrics.average_precision_score(**options))


def test_areas_by_hand() -> None:
    positive, scores = np.array([True, False, True, False]), np.array([0.9, 0.6, 0.6, 0.1])
    # Of the four pairs, three are ordered correctly and one is equal.
    assert areas(positive, scores) == pytest.approx(((3 + 0.5) / 4, 0.5 * 1 + 0.5 * 2 / 3))


def test_areas_of_one_class_are_nan() -> None:
    assert areas(np.array([True]), np.array([0.5])) == pytest.approx((np.nan, 1), nan_ok=True)
    assert areas(np.array([False]), np.array([0.5])) == pytest.approx((np.nan, np.nan), nan_ok=True)


def test_mean_areas_leave_out_classes_without_images() -> None:
    probabilities = np.array([[0.5, 0.2, 0.3], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]])
    outcomes = Outcomes(np.array([0, 0, 1]), probabilities, np.array([0, 0, 1]))
    assert mean_areas(outcomes) == (1, 1)
    # The second sample has images of one class only, whose area is undefined.
    found = MeanAreas(outcomes)(np.array([[1.0, 1, 1], [1, 2, 0]]))
    np.testing.assert_array_equal(found, [[1, np.nan], [1, 1]])


def test_mean_areas_without_labels_are_nan() -> None:
    outcomes = Outcomes(np.zeros((2, 2), int), np.eye(2), np.zeros((2, 2), int))
    assert mean_areas(outcomes) == pytest.approx((np.nan, np.nan), nan_ok=True)
