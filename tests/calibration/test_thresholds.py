"""Thresholds against a search over all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferkit.calibration.thresholds import precision_threshold, recall_threshold, selective_accuracy

EXAMPLES = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=20)


@given(EXAMPLES, st.integers(1, 20))
def test_thresholds_are_the_best_of_all(examples: list[tuple[bool, int]], wanted: int) -> None:
    positive = np.array([label for label, _ in examples])
    scores = np.array([score / 6 for _, score in examples])
    target = wanted / 20
    precisions = {t: positive[scores >= t].mean() for t in set(scores.tolist())}
    reached = [t for t, value in precisions.items() if value >= target - 1e-9]
    assert precision_threshold(positive, scores, target) == (min(reached) if reached else None)
    recalls = {t: positive[scores >= t].sum() / max(1, positive.sum()) for t in precisions}
    reached = [t for t, value in recalls.items() if value >= target - 1e-9]
    assert recall_threshold(positive, scores, target) == (max(reached) if positive.any() else None)


def test_selective_accuracy_by_hand() -> None:
    thresholds, coverage, accuracy = selective_accuracy(
        np.array([True, True, False, True]), np.array([0.9, 0.8, 0.8, 0.6])
    )
    assert thresholds.tolist() == [0.9, 0.8, 0.6]
    assert coverage.tolist() == [0.25, 0.75, 1.0]
    assert accuracy.tolist() == pytest.approx([1.0, 2 / 3, 0.75])
