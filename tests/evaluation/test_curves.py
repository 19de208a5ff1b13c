"""ROC and precision-recall curves and their areas, by hand and against scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from tests.evaluation.random_outcomes import SEEDS, random_outcomes
from transferkit.evaluation.curves import (
    average_precision,
    mean_areas,
    mean_of_defined,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)

POSITIVE = np.array([True, False, True, False])
SCORES = np.array([0.9, 0.6, 0.6, 0.1])


def random_scores(seed: int, images: int, prevalence: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 8, images) / 8 if seed % 2 else generator.random(images)
    return generator.random(images) < prevalence, scores


def test_roc_curve_by_hand() -> None:
    curve = roc_curve(POSITIVE, SCORES)
    assert curve.false_positive_rate.tolist() == [0, 0, 0.5, 1]
    assert curve.true_positive_rate.tolist() == [0, 0.5, 1, 1]
    assert curve.thresholds.tolist() == [np.inf, 0.9, 0.6, 0.1]
    # Of the four pairs, three are ordered correctly and one is equal.
    assert curve.area == (3 + 0.5) / 4
    assert repr(curve) == "RocCurve(area=0.8750, 4 points)"


def test_precision_recall_curve_by_hand() -> None:
    curve = precision_recall_curve(POSITIVE, SCORES)
    assert curve.precision.tolist() == [2 / 4, 2 / 3, 1, 1]
    assert curve.recall.tolist() == [1, 1, 0.5, 0]
    assert curve.thresholds.tolist() == [0.1, 0.6, 0.9]
    assert curve.average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert repr(curve) == "PrecisionRecallCurve(average_precision=0.8333, 4 points)"


# Prevalences of 0 and 1: without positive and without negative images.
@given(SEEDS, st.integers(1, 40), st.sampled_from([0.0, 0.3, 0.9, 1.0]))
def test_roc_curve_matches_scikit_learn(seed: int, images: int, prevalence: float) -> None:
    positive, scores = random_scores(seed, images, prevalence)
    curve = roc_curve(positive, scores)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = metrics.roc_curve(positive, scores, pos_label=True, drop_intermediate=False)
    for ours, theirs in zip((curve.false_positive_rate, curve.true_positive_rate, curve.thresholds), expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    if positive.any() and not positive.all():
        assert curve.area == pytest.approx(metrics.roc_auc_score(positive, scores), abs=1e-12)
    else:
        assert np.isnan(curve.area)


@given(SEEDS, st.integers(1, 40), st.sampled_from([0.0, 0.3, 0.9, 1.0]))
def test_precision_recall_curve_matches_scikit_learn(seed: int, images: int, prevalence: float) -> None:
    positive, scores = random_scores(seed, images, prevalence)
    curve = precision_recall_curve(positive, scores)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = metrics.precision_recall_curve(positive, scores, pos_label=True, drop_intermediate=False)
    for ours, theirs in zip((curve.precision, curve.recall, curve.thresholds), expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    if positive.any():
        assert curve.average_precision == pytest.approx(metrics.average_precision_score(positive, scores), abs=1e-12)
    else:
        assert np.isnan(curve.average_precision)


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
    areas, precisions = roc_auc(positive, scores, weights), average_precision(positive, scores, weights)
    for sample, row in enumerate(weights):
        used = row > 0
        options = {"y_true": positive[used], "y_score": scores[used], "sample_weight": row[used]}
        if positive[used].any() and not positive[used].all():
            assert areas[sample] == pytest.approx(metrics.roc_auc_score(**options))
            assert precisions[sample] == pytest.approx(metrics.average_precision_score(**options))


def test_areas_of_one_class_are_nan() -> None:
    assert np.isnan(roc_auc(np.array([True]), np.array([0.5]))[0])
    assert average_precision(np.array([True]), np.array([0.5]))[0] == 1
    assert np.isnan(average_precision(np.array([False]), np.array([0.5]))[0])


def test_mean_of_defined_leaves_out_nan() -> None:
    areas = np.array([[0.5, np.nan, np.nan], [0.7, 0.9, np.nan]])
    assert mean_of_defined(areas) == pytest.approx([0.6, 0.9, np.nan], nan_ok=True)
