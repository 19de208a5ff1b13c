"""Insertion and deletion curves: masks by hand, and maps that are better than their opposites."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from transferkit.explanation.faithfulness import blur, importance_masks


def test_masks_grow_from_the_largest_value() -> None:
    masks = importance_masks(np.array([[0.2, 0.9], [0.2, 0.5]]), 4)
    assert masks.sum(axis=(1, 2)).tolist() == [0, 1, 2, 3, 4]
    # Of equal values the first one comes first.
    assert masks[3].tolist() == [[True, True], [False, True]]


def test_area_of_curves_is_their_mean_trapezoid() -> None:
    curves = np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    measured = tk.explanation.Faithfulness(np.linspace(0, 1, 3), curves, 1 - curves)
    assert measured.insertion_area == pytest.approx((0.75 + 0.25) / 2)
    assert measured.deletion_area == pytest.approx(0.5)
    assert repr(measured) == "Faithfulness(insertion_area=0.5000, deletion_area=0.5000, 2 images)"


def test_blur_keeps_constant_image_and_mean_of_a_point() -> None:
    np.testing.assert_allclose(blur(np.full((9, 12, 3), 7.0)), 7.0, rtol=1e-6)
    point = np.zeros((25, 25, 1))
    point[12, 12] = 1
    blurred = blur(point)[..., 0]
    assert blurred.sum() == pytest.approx(1, rel=1e-5)
    assert np.unravel_index(blurred.argmax(), blurred.shape) == (12, 12)
    np.testing.assert_allclose(blurred, blurred.T, atol=1e-7)


def test_map_is_better_than_its_opposite(predictor: Any, image: np.ndarray) -> None:
    dark = np.minimum(image, 20)
    explanation = tk.explain(predictor, dark)
    opposite = dataclasses.replace(explanation, heatmap=1 - explanation.heatmap)
    measured, other = (tk.explanation.faithfulness(predictor, [one], steps=4) for one in (explanation, opposite))
    assert measured.insertion_area > other.insertion_area
    assert measured.deletion_area < other.deletion_area
    # The curves end at the image, and start at it.
    assert measured.insertion[0, -1] == pytest.approx(explanation.probability, abs=1e-5)
    assert measured.deletion[0, 0] == pytest.approx(explanation.probability, abs=1e-5)


def test_list_without_explanation_raises(predictor: Any) -> None:
    with pytest.raises(ValueError, match="`explanations` must have at least one without an error"):
        tk.explanation.faithfulness(predictor, [tk.Explanation("a.jpg", "truncated")])
