"""Reliability bins, calibration errors and Brier score, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from tests.evaluation.random_outcomes import SEEDS, random_outcomes
from transferkit.evaluation.calibration_metrics import (
    bin_indices,
    brier_scores,
    calibration_gaps,
    reliability,
)
from transferkit.evaluation.outcomes import Outcomes, predict_labels

CONFIDENCE = np.array([0.05, 0.95, 0.95, 0.91, 0.55])
CORRECT = np.array([False, True, False, True, True])


def test_reliability_by_hand() -> None:
    bins = reliability(CONFIDENCE, CORRECT)
    assert bins.counts.tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 3]
    assert bins.accuracy == pytest.approx([0, *[np.nan] * 4, 1, *[np.nan] * 3, 2 / 3], nan_ok=True)
    assert bins.confidence[[0, 5, 9]] == pytest.approx([0.05, 0.55, 2.81 / 3])
    assert bins.edges == pytest.approx(np.arange(11) / 10)
    gaps = [0.05, 0.45, 0.81 / 3]
    assert bins.expected_error == pytest.approx((gaps[0] + gaps[1] + 3 * gaps[2]) / 5)
    assert bins.maximum_error == pytest.approx(0.45)
    assert repr(bins) == f"Reliability(10 bins, expected_error={bins.expected_error:.4f})"


def test_bin_contains_its_upper_edge() -> None:
    assert bin_indices(np.array([0, 0.1, 0.1001, 0.5, 0.9, 1])).tolist() == [0, 0, 1, 4, 8, 9]
    assert bin_indices(np.array([0, 0.3, 1]), 1).tolist() == [0, 0, 0]


# Values on the edges of bins too.
@given(SEEDS, st.integers(1, 12), st.integers(2, 40))
def test_reliability_matches_scikit_learn(seed: int, bins: int, images: int) -> None:
    generator = np.random.default_rng(seed)
    confidence = generator.random(images) if seed % 2 else generator.integers(0, bins + 1, images) / bins
    correct = generator.random(images) < 0.5
    expected = calibration_curve(correct, confidence, pos_label=True, n_bins=bins)
    found = reliability(confidence, correct, bins)
    used = found.counts > 0
    np.testing.assert_allclose(found.accuracy[used], expected[0])
    np.testing.assert_allclose(found.confidence[used], expected[1])


@given(SEEDS, st.booleans())
def test_calibration_gaps_sum_to_expected_error(seed: int, multi_label: bool) -> None:
    outcomes = random_outcomes(seed, multi_label=multi_label)
    error = np.abs(calibration_gaps(outcomes).sum(axis=0)).sum() / outcomes.confidence.size
    assert error == pytest.approx(reliability(outcomes.confidence.ravel(), outcomes.correct.ravel()).expected_error)


def scores_of(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return brier_scores(Outcomes(labels, probabilities, predict_labels(probabilities, labels.ndim == 2)))


def test_brier_scores_by_hand() -> None:
    binary = scores_of(np.array([0, 1]), np.array([[0.9, 0.1], [0.3, 0.7]]))
    assert binary == pytest.approx([0.1**2, 0.3**2])
    three = scores_of(np.array([2]), np.array([[0.2, 0.3, 0.5]]))
    assert three == pytest.approx([0.2**2 + 0.3**2 + 0.5**2])
    several = scores_of(np.array([[1, 0]]), np.array([[0.8, 0.4]]))
    assert several == pytest.approx([(0.2**2 + 0.4**2) / 2])


@given(SEEDS, st.integers(2, 5), st.booleans())
def test_brier_scores_match_scikit_learn(seed: int, classes: int, multi_label: bool) -> None:
    outcomes = random_outcomes(seed, classes=classes, multi_label=multi_label, absent=seed % 2)
    per_class = [
        brier_score_loss(outcomes.positive(column), outcomes.probabilities[:, column], pos_label=True)
        for column in range(classes)
    ]
    # Of two classes both columns have the same score, of which the Brier score is one.
    expected = np.mean(per_class) if multi_label or classes == 2 else np.sum(per_class)
    assert brier_scores(outcomes).mean() == pytest.approx(expected)
