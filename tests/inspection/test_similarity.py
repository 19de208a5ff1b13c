"""Near duplicates, outliers and robust scores."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from transferkit.inspection import similarity
from transferkit.inspection.similarity import (
    duplicate_threshold,
    group_pairs,
    near_duplicate_pairs,
    outlier_distances,
    robust_scores,
)


@pytest.mark.parametrize("block", [3, 1024])
def test_near_duplicate_pairs_equal_scikit_learn(block, monkeypatch):
    monkeypatch.setattr(similarity, "_BLOCK", block)
    features = np.random.default_rng(0).normal(size=(20, 3))
    cosines = cosine_similarity(features)
    expected = {(i, j) for i in range(20) for j in range(i + 1, 20) if cosines[i, j] >= 0.8}
    pairs = near_duplicate_pairs(features, 0.8)
    assert expected and {pair[:2] for pair in pairs} == expected
    assert [pair[2] for pair in pairs] == sorted((pair[2] for pair in pairs), reverse=True)


@pytest.mark.parametrize("block", [3, 1024])
def test_outlier_distances_are_to_the_fifth_other(block, monkeypatch):
    monkeypatch.setattr(similarity, "_BLOCK", block)
    features = np.random.default_rng(1).normal(size=(12, 4))
    cosines = cosine_similarity(features)
    np.fill_diagonal(cosines, -np.inf)
    np.testing.assert_allclose(outlier_distances(features), 1 - np.sort(cosines, axis=1)[:, -5], atol=1e-6)
    assert outlier_distances(features[:1]).tolist() == [0]
    np.testing.assert_allclose(outlier_distances(features[:2]), 1 - cosines[0, 1], atol=1e-6)


def test_group_pairs_connects_and_splits_large_groups():
    assert group_pairs([(0, 2, 1.0), (2, 3, 1.0)], 4).tolist() == [0, 1, 0, 0]
    chain = [(index, index + 1, 1.0) for index in range(10)]
    assert len(set(group_pairs(chain, 12))) == 12
    assert len(set(group_pairs(chain[:9], 12))) == 3


def test_duplicate_threshold_follows_the_neighbors():
    assert duplicate_threshold(np.array([0.3, 0.6, 0.4]), 0.9) == 0.9
    assert duplicate_threshold(np.array([0.03, 0.01, 0.05]), 0.9) == pytest.approx(0.99)


def test_robust_scores_where_half_of_the_values_are_equal():
    assert robust_scores(np.array([1.0, 1.0, 1.0, 5.0]))[3] == pytest.approx(4 / 1.2533)
    assert robust_scores(np.ones(4)).tolist() == [0] * 4
