"""Class means and nearest neighbors: values worked by hand, and scales."""

from __future__ import annotations

import numpy as np
import pytest

from transferkit.features.few_shot import fit_prototypes, neighbor_scale, unit_rows
from transferkit.features.linear_probe import probe_logits


def clusters(spread: float, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = np.arange(30) % classes
    return unit_rows(np.eye(6)[labels] + generator.normal(0, spread, (30, 6))), labels


def test_fit_prototypes_is_cosine_to_class_means() -> None:
    # The mean of the first class has the direction (0.6, 0.8), of the second (0, 1), of the third (-1, 0).
    features = np.array([[1.0, 0.0], [0.2, 1.6], [0.0, 3.0], [-2.0, 0.0]])
    features[:2] = unit_rows(np.array([[0.6 + 0.8, 0.8 - 0.6], [0.6 - 0.8, 0.8 + 0.6]]))
    probe = fit_prototypes(features, np.array([0, 0, 1, 2]), 3, scale=10.0)
    np.testing.assert_allclose(probe.kernel, [[6.0, 0.0, -10.0], [8.0, 10.0, 0.0]], atol=1e-9)
    np.testing.assert_array_equal(probe.bias, np.zeros(3))


def test_fit_prototypes_of_two_classes_is_the_difference() -> None:
    features, labels = clusters(0.1, classes=2)
    two = probe_logits(fit_prototypes(features, labels, 2, scale=5.0), features)
    three = probe_logits(fit_prototypes(features, labels, 3, scale=5.0), features)
    np.testing.assert_allclose(two[:, 0], three[:, 1] - three[:, 0])


def test_fit_prototypes_scale_is_smaller_for_mixed_classes() -> None:
    scales = [np.linalg.norm(fit_prototypes(*clusters(spread), 3).kernel[:, 0]) for spread in (0.05, 0.6)]
    assert 2.0 <= scales[1] < scales[0] <= 200.0 + 1e-9


def test_fit_prototypes_with_one_image_per_class() -> None:
    probe = fit_prototypes(np.eye(3), np.arange(3), 3)
    np.testing.assert_allclose(probe.kernel, 20 * np.eye(3))


def test_fit_prototypes_of_missing_class_has_logit_zero() -> None:
    probe = fit_prototypes(np.eye(2), np.array([0, 2]), 3, scale=1.0)
    np.testing.assert_allclose(probe.kernel, [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("neighbors", [1, 5, 100])
def test_neighbor_scale_is_in_range(neighbors: int) -> None:
    scales = [neighbor_scale(*clusters(spread), 3, neighbors, 0.01) for spread in (0.05, 0.6)]
    assert all(2.0 <= scale <= 200.0 for scale in scales)


def test_neighbor_scale_trusts_the_nearest_where_it_is_right() -> None:
    # The nearest image has the same label, and the next two another one: they must not have equal votes.
    angles = np.array([0.0, 0.01, 0.5, 0.51, 1.0, 1.01])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert neighbor_scale(features, np.array([0, 0, 1, 1, 0, 0]), 2, 3, 0.01) > 30


def test_neighbor_scale_of_one_image() -> None:
    assert neighbor_scale(np.eye(1), np.zeros(1, int), 2, 1, 0.01) == 20.0
