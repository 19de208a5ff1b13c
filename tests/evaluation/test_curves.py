"""ROC and precision-recall curves by hand and against scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from tests.evaluation.random_outcomes import SEEDS, random_scores
from transferkit.evaluation.curves import precision_recall_curve, roc_curve

POSITIVE = np.array([True, False, True, False])
SCORES = np.array([0.9, 0.6, 0.6, 0.1])


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
