"""Occlusion: values by hand, and patches that cover every pixel."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import transferkit as tk


def test_values_are_decreases_of_logit(predictor: Any, image: np.ndarray) -> None:
    # A covered block has the mean color (50, 25, 10); the logit is (red + blue / 2) / 4, summed over blocks.
    explanation = tk.explain(predictor, image, tk.explanation.Occlusion(patch_size=2, stride=2))
    np.testing.assert_allclose(explanation.values[::2, ::2], [[36.25, -13.75], [-8.75, -13.75]], rtol=1e-4)
    assert explanation.heatmap[:2, :2].min() == 1 and explanation.heatmap.sum() == 4


def test_overlapping_patches_give_their_mean(predictor: Any, image: np.ndarray) -> None:
    covering = tk.explain(predictor, image, tk.explanation.Occlusion(patch_size=2, stride=1)).values
    single = tk.explain(predictor, image, tk.explanation.Occlusion(patch_size=2, stride=2)).values
    assert covering[0, 0] == pytest.approx(single[0, 0])
    # The second pixel is in two patches: the second one covers half of a red and half of a green block.
    assert covering[0, 1] == pytest.approx((36.25 + (36.25 - 13.75) / 2) / 2, rel=1e-4)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.integers(1, 50))
def test_patches_cover_every_pixel(height: int, width: int, size: int, stride: int) -> None:
    method = tk.explanation.Occlusion(patch_size=size, stride=min(size, stride))
    covered = np.zeros((height, width), int)
    for rows, columns in method._patches(height, width):
        covered[rows, columns] += 1
    assert covered.min() >= 1


def test_default_patches_are_a_fifth_and_overlap() -> None:
    patches = tk.explanation.Occlusion()._patches(100, 160)
    assert patches[0] == (slice(0, 20), slice(0, 20)) and patches[1][1] == slice(10, 30)
    assert len(patches) == 9 * 15


def test_stride_larger_than_patch_raises() -> None:
    with pytest.raises(ValueError, match="`stride` must be at most the patch size, 4, .* Received: 5"):
        tk.explanation.Occlusion(patch_size=4, stride=5)


def test_images_of_a_batch_are_independent(predictor: Any, image: np.ndarray) -> None:
    method = tk.explanation.Occlusion(patch_size=2, stride=1)
    images = np.stack([image, image[::-1], image[:, ::-1]])
    for one, other in zip(tk.explain(predictor, images, method), images):
        np.testing.assert_allclose(one.values, tk.explain(predictor, other, method).values, atol=1e-4)
