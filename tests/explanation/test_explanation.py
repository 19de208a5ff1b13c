"""Attributes, pictures and repr of explanations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from transferkit.explanation.neighbors import Neighbor

IMAGE = np.full((2, 2, 3), 100, np.uint8)
HEATMAP = np.array([[0.0, 1.0], [1.0, 0.5]], np.float32)


def make_explanation(**options: Any) -> tk.Explanation:
    values = {"image": IMAGE, "heatmap": HEATMAP, "values": HEATMAP, "class_name": "ant", "probability": 0.75}
    return tk.Explanation(**{"path": "a.jpg", "method": "grad_cam"} | values | options)


def test_overlay_blends_image_and_colors() -> None:
    explanation = make_explanation()
    gray = explanation.overlay(0.25, colormap="gray")
    assert gray.dtype == np.uint8
    # 0.75 * 100 + 0.25 * (0, 255, 128), as the colormap has 256 steps.
    assert gray[..., 0].tolist() == [[75, 139], [139, 107]]
    np.testing.assert_array_equal(explanation.overlay(0), IMAGE)
    assert explanation.overlay(1, colormap="gray")[0, :, 2].tolist() == [0, 255]


def test_overlay_refuses_bad_alpha_and_colormap() -> None:
    with pytest.raises(ValueError, match=r"`alpha` must be in \[0, 1\]. Received: 1.5"):
        make_explanation().overlay(1.5)
    with pytest.raises(ValueError, match="`colormap` must be .*'virids'. Did you mean 'viridis'"):
        make_explanation().overlay(colormap="virids")


def test_peak_is_center_of_largest_values() -> None:
    assert make_explanation().peak == (0.5, 0.5)
    assert make_explanation(heatmap=np.zeros((2, 2), np.float32)).peak is None


def test_show_writes_image_overlay_and_neighbors(tmp_path: Path) -> None:
    neighbors = (Neighbor(3, None, "bee", 0.5, IMAGE),)
    explanation = make_explanation(neighbors=neighbors, class_name="$ant$\n")
    figure = explanation.show(tmp_path / "one.png")
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["a.jpg", "$ant$\\n 0.75", "bee, similarity 0.50"]
    assert Image.open(tmp_path / "one.png").size[0] > 100


def test_grid_keeps_place_of_unreadable_file(tmp_path: Path) -> None:
    explanations = tk.explanation.Explanations([tk.Explanation("b.jpg", "truncated"), make_explanation()])
    figure = explanations.show(tmp_path / "grid.png", columns=2)
    assert [axes.get_title() for axes in figure.axes] == ["cannot be read", "ant 0.75"]
    assert (tmp_path / "grid.png").is_file()


def test_explanation_with_error_has_no_picture() -> None:
    explanation = tk.Explanation("b.jpg", "truncated")
    assert repr(explanation) == "Explanation(error='truncated', path='b.jpg')"
    with pytest.raises(ValueError, match="must have a heat map. Received: that of 'b.jpg', with the error 'truncated'"):
        explanation.overlay()
