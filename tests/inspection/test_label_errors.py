"""Label scores by confident learning."""

from __future__ import annotations

import numpy as np

from transferkit.inspection.label_errors import score_labels


def test_score_labels_by_hand():
    scores = np.array([[0.8, 0.2, 0.0], [0.6, 0.4, 0.0], [0.1, 0.7, 0.2], [0.3, 0.5, 0.2], [0.0, 0.2, 0.8]])
    labels = np.array([0, 0, 1, 0, 2])
    result = score_labels(scores, labels)
    assert result.suggested.tolist() == [1, 1, 2, 1, 1]
    np.testing.assert_allclose(result.suspicion, [0.2, 0.4, 0.25, 0.6, 0.2])
    # The mean of class 1 is 0.7: the fourth image has less, though class 1 is the most probable one.
    assert result.is_confident.tolist() == [False] * 5
    scores[3] = [0.1, 0.75, 0.15]
    assert score_labels(scores, labels).is_confident.tolist() == [False, False, False, True, False]


def test_score_labels_clips_and_normalizes():
    result = score_labels(np.array([[1.2, -0.3], [0.4, 1.2]]), np.array([0, 1]))
    np.testing.assert_allclose(result.suspicion, [0.0, (1 - 0.5) / 2])


def test_score_labels_with_class_without_images():
    result = score_labels(np.array([[0.1, 0.0, 0.9], [0.0, 0.8, 0.2]]), np.array([0, 1]))
    assert result.suggested.tolist() == [2, 2] and not result.is_confident.any()
