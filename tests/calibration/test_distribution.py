"""Distances of features to those of training images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from transferkit.calibration import distribution
from transferkit.calibration.distribution import distance_threshold, neighbor_distances, reference_features


@pytest.mark.parametrize("count", [3, 5, 300])
def test_neighbor_distances_equal_scikit_learn(count, monkeypatch):
    monkeypatch.setattr(distribution, "_BLOCK", 7)
    generator = np.random.default_rng(count)
    training, queries = generator.normal(size=(count, 8)), generator.normal(size=(20, 8))
    neighbors = min(5, count)
    expected = NearestNeighbors(n_neighbors=neighbors, metric="cosine").fit(training).kneighbors(queries)[0][:, -1]
    np.testing.assert_allclose(neighbor_distances(queries, reference_features(training)), expected, atol=2e-3)


def test_neighbor_distances_of_no_images():
    assert neighbor_distances(np.zeros((0, 2)), np.eye(2)).tolist() == []


def test_neighbor_distances_of_zero_features():
    assert neighbor_distances(np.zeros((1, 2)), np.eye(2)).tolist() == [1.0]


def test_reference_features_are_limited(monkeypatch):
    monkeypatch.setattr(distribution, "MAX_IMAGES", 10)
    features = np.eye(30) * 5
    chosen = reference_features(features, seed=3)
    assert chosen.shape == (10, 30) and chosen.dtype == np.float16 and chosen.sum() == 10
    # In the order of the images, and the same for the same seed.
    assert (np.diff(chosen.argmax(axis=1)) > 0).all()
    assert chosen.tolist() == reference_features(features, seed=3).tolist()
    assert chosen.tolist() != reference_features(features, seed=4).tolist()


@given(st.lists(st.floats(0, 2), min_size=1, max_size=40), st.floats(0.01, 1))
def test_distance_threshold_is_the_smallest(distances, fraction):
    values = np.array(distances)
    threshold = distance_threshold(values, fraction)
    assert np.mean(values <= threshold) >= fraction - 1e-9
    smaller = values[values < threshold]
    assert not len(smaller) or np.mean(values <= smaller.max()) < fraction + 1e-9
