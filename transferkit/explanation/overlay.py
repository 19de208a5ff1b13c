"""Heat maps as colors over an image."""

from __future__ import annotations

import matplotlib
import numpy as np

from transferkit._utils.checks import check_fraction, did_you_mean


def overlay_heatmap(image: np.ndarray, heatmap: np.ndarray, alpha: float, colormap: str) -> np.ndarray:
    """Return (1 - alpha) * image + alpha * colors of the heat map, uint8 (height, width, 3).

    >>> overlay_heatmap(np.full((1, 2, 3), 100, np.uint8), np.array([[0.0, 1.0]]), 0.5, "gray")[0, :, 0].tolist()
    [50, 178]
    """
    check_fraction("alpha", alpha)
    if colormap not in matplotlib.colormaps:
        hint = did_you_mean(colormap, matplotlib.colormaps) or "Give, for example, 'viridis'."
        raise ValueError(f"`colormap` must be the name of a colormap of matplotlib. Received: {colormap!r}. {hint}")
    colors = matplotlib.colormaps[colormap](np.asarray(heatmap, np.float64))[..., :3] * 255.0
    blended = (1.0 - alpha) * np.asarray(image, np.float64) + alpha * colors
    return np.clip(np.rint(blended), 0, 255).astype(np.uint8)
