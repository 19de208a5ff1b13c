"""Leave-one-out scores in closed form, against fits without each image."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from transferkit.inspection import leave_one_out
from transferkit.inspection.leave_one_out import leave_one_out_scores


@pytest.mark.parametrize("size", [4, 60])
@pytest.mark.parametrize("grouped", [False, True])
def test_scores_equal_fits_without_each_group(size, grouped, monkeypatch):
    generator = np.random.default_rng(size)
    features, labels = generator.normal(size=(30, size)), np.arange(30) % 3
    groups = np.arange(30)
    if grouped:
        groups[[3, 7, 8]], groups[[20, 21]] = 3, 20
    monkeypatch.setattr(leave_one_out, "_GRID", (1.0,))
    scores = leave_one_out_scores(features, labels, 3, groups)
    rows = leave_one_out._standardized(features)
    assert np.mean(np.sum(rows**2, axis=1)) == pytest.approx(1, abs=1e-6)
    for index in range(30):
        others = groups != groups[index]
        fit = Ridge(alpha=2.0).fit(rows[others], np.eye(3)[labels[others]])
        np.testing.assert_allclose(scores[index], fit.predict(rows[[index]])[0], atol=1e-7)


def test_scores_of_more_images_than_features_are_the_same():
    generator = np.random.default_rng(0)
    features, labels = generator.normal(size=(40, 40)), np.arange(40) % 2
    # A constant and a repeated column change nothing but the decomposition that is used.
    wide = leave_one_out._residuals(leave_one_out._decompose(features), np.eye(2)[labels], 1.0, ())
    narrow = leave_one_out._decompose(features[:, :20])
    wide_again = leave_one_out._decompose(np.hstack([features[:, :20], np.zeros((40, 30))]))
    targets = np.eye(2)[labels]
    first, second = (leave_one_out._residuals(one, targets, 1.0, ()) for one in (narrow, wide_again))
    np.testing.assert_allclose(first, second, atol=1e-8)
    assert wide.shape == (40, 2)


def test_scores_find_wrong_labels_of_separable_classes():
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = np.eye(8)[labels] * 5 + generator.normal(size=(60, 8))
    noisy = labels.copy()
    noisy[[4, 30]] = (labels[[4, 30]] + 1) % 3
    scores = leave_one_out_scores(features, noisy, 3, np.arange(60))
    assert (scores.argmax(axis=1) == labels).all()


def test_scores_of_constant_features():
    scores = leave_one_out_scores(np.ones((6, 3)), np.array([0, 0, 0, 0, 1, 1]), 2, np.arange(6))
    # Without information, the scores are the fractions of the other images.
    np.testing.assert_allclose(scores[:, 0], [3 / 5, 3 / 5, 3 / 5, 3 / 5, 4 / 5, 4 / 5], atol=1e-9)
