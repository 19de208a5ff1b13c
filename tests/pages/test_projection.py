"""Features in two dimensions."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.decomposition import PCA

from transferkit.errors import MissingExtraError
from transferkit.pages import project


@pytest.mark.parametrize("shape", [(30, 5), (4, 20), (2, 3), (5, 1)])
def test_project_pca_equals_scikit_learn(shape):
    features = np.random.default_rng(0).normal(size=shape)
    positions = project(features)
    assert positions.shape == (shape[0], 2)
    count = min(2, *shape)
    expected = PCA(count).fit_transform(features)
    np.testing.assert_allclose(np.abs(positions[:, :count]), np.abs(expected), atol=1e-8)
    assert (positions[:, count:] == 0).all()


def test_project_signs_follow_the_features():
    # The largest entry of each component is positive.
    positions = project(np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]]))
    np.testing.assert_allclose(positions[:, 0], [-2, 0, 2], atol=1e-9)


def test_project_tsne_separates_groups():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(40, 8)) + 20 * np.repeat([[0], [1]], 20, axis=0)
    positions = project(features, "tsne")
    centers = positions[:20].mean(axis=0), positions[20:].mean(axis=0)
    spread = np.linalg.norm(positions - np.repeat(centers, 20, axis=0), axis=1).max()
    assert np.linalg.norm(centers[0] - centers[1]) > spread
    np.testing.assert_array_equal(positions, project(features, "tsne"))


def test_project_without_extra_raises(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingExtraError, match="umap-learn"):
        project(np.zeros((9, 3)), "umap")
    with pytest.raises(ValueError, match="`method` must be one of 'pca', 'tsne', 'umap'. Received: 'mds'"):
        project(np.zeros((9, 3)), "mds")
