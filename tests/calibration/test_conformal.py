"""Prediction sets: the rank by hand, and their coverage of new images."""

from __future__ import annotations

import numpy as np
import pytest

from transferkit.calibration.conformal import conformal_threshold, fewest_images


def test_threshold_has_the_rank_by_hand() -> None:
    # ceil((9 + 1) * 0.9) = 9: the ninth largest of nine probabilities.
    probabilities = np.linspace(0.1, 0.9, 9)
    assert conformal_threshold(probabilities, 0.9) == pytest.approx(0.1)
    assert conformal_threshold(probabilities, 0.5) == pytest.approx(0.5)
    assert conformal_threshold(probabilities, 0.91) is None


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_fewest_images_is_the_smallest_number(coverage: float) -> None:
    count = fewest_images(coverage)
    assert conformal_threshold(np.ones(count), coverage) is not None
    assert conformal_threshold(np.ones(count - 1), coverage) is None


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_sets_have_the_stated_coverage(coverage: float) -> None:
    generator = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        scores = generator.beta(4, 1, 300)
        covered.append(np.mean(scores[100:] >= conformal_threshold(scores[:100], coverage)))
    # The standard error of the mean is 0.002.
    assert coverage - 0.006 < np.mean(covered) < coverage + 1 / 101 + 0.006
