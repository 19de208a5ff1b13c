"""Bootstrap, intervals, McNemar's test and Holm's method, by hand, against SciPy and by coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from transferkit.evaluation.resampling import (
    Statistic,
    bootstrap,
    holm,
    mcnemar_p_value,
    percentile_interval,
    wilson_interval,
)


def mean_of(values: np.ndarray) -> Statistic:
    return lambda weights: weights @ values / weights.sum(axis=1)


def test_bootstrap_samples_have_as_many_images() -> None:
    sums = bootstrap(lambda weights: weights.sum(axis=1), 7, samples=5, seed=0)
    assert sums.tolist() == [7] * 5


def test_bootstrap_of_one_image_is_constant() -> None:
    assert bootstrap(mean_of(np.array([0.25])), 1, samples=3, seed=0).tolist() == [0.25] * 3


def test_bootstrap_depends_only_on_seed() -> None:
    values = np.random.default_rng(0).random(30)
    first, second, other = (bootstrap(mean_of(values), 30, samples=20, seed=seed) for seed in (1, 1, 2))
    assert first.tolist() == second.tolist() != other.tolist()


def test_bootstrap_of_many_images_has_as_many_samples() -> None:
    # More images than a chunk has numbers.
    found = bootstrap(lambda weights: np.ones(len(weights)), 300_000, samples=3, seed=0)
    assert found.tolist() == [1, 1, 1]


def test_bootstrap_has_moments_of_the_mean() -> None:
    values = np.random.default_rng(0).random(200)
    found = bootstrap(mean_of(values), 200, samples=5000, seed=0)
    assert found.mean() == pytest.approx(values.mean(), abs=1e-3)
    assert found.std() == pytest.approx(values.std() / math.sqrt(200), rel=0.05)


def test_bootstrap_interval_covers_the_true_accuracy() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        correct = (generator.random(300) < 0.8).astype(float)
        low, high = percentile_interval(bootstrap(mean_of(correct), 300, samples=400, seed=seed), 0.9)
        covered += low <= 0.8 <= high
    # A nominal 90 percent of 200; four standard deviations of the count are 17.
    assert 163 <= covered <= 197


def test_percentile_interval_by_hand() -> None:
    assert percentile_interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))
    assert percentile_interval(np.array([np.nan, 1, 3, np.nan]), 0.5) == (1.5, 2.5)
    assert all(map(math.isnan, percentile_interval(np.array([np.nan]), 0.9)))


@given(st.integers(0, 30), st.integers(1, 30))
def test_wilson_interval_matches_scipy(correct: int, count: int) -> None:
    correct = min(correct, count)
    expected = stats.binomtest(correct, count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(correct / count, count) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize(
    ("counts", "expected"), [((0, 0), 1), ((3, 3), 1), ((3, 2), 1), ((0, 1), 1), ((0, 5), 2 / 32), ((5, 1), 14 / 64)]
)
def test_mcnemar_p_value_by_hand(counts: tuple[int, int], expected: float) -> None:
    assert mcnemar_p_value(*counts) == pytest.approx(expected, rel=1e-9)


# Of more images, p-values are smaller than SciPy computes: it returns 0 below 1e-300.
@given(st.integers(0, 900), st.integers(0, 900))
def test_mcnemar_p_value_matches_scipy(first: int, second: int) -> None:
    expected = stats.binomtest(first, first + second, 0.5).pvalue if first + second else 1
    assert mcnemar_p_value(first, second) == pytest.approx(expected, rel=1e-6, abs=1e-300)
    assert mcnemar_p_value(second, first) == mcnemar_p_value(first, second)


def test_mcnemar_p_value_of_very_many_images() -> None:
    assert mcnemar_p_value(100_000, 101_000) == pytest.approx(stats.binomtest(100_000, 201_000).pvalue, rel=1e-6)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([0.2]) == [0.2]
