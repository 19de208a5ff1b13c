"""The interface of methods, and the scaling of their results to heat maps."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from transferkit.explanation.explained_model import ExplainedModel
from transferkit.explanation.map_positions import Steps, centered_positions, interpolation_matrix


class Attribution(NamedTuple):
    """The result of a method for n images.

    Attributes:
        values: float32 (n, rows, columns), signed: how much each position speaks for the class.
        heatmaps: float32 (n, height, width) in [0, 1].
        outputs: float32 (n, units), of the model for the images.
    """

    values: np.ndarray
    heatmaps: np.ndarray
    outputs: np.ndarray


class Method(Protocol):
    """How an explanation is computed."""

    @property
    def name(self) -> str:
        """The name in `METHODS`."""

    def attribute(self, model: ExplainedModel, images: np.ndarray, classes: np.ndarray) -> Attribution:
        """Return the attribution of one class for each of images float32 (n, height, width, 3)."""


def to_heatmaps(
    values: np.ndarray,
    size: tuple[int, int],
    percentile: float = 100.0,
    steps: Steps | None = None,
) -> np.ndarray:
    """Return heat maps (n, height, width) in [0, 1]: positive values, resized, divided by a percentile of each map.

    `steps` are the pixels between values along height and width; without, the values cover the whole image. A map
    without positive values is 0.

    >>> to_heatmaps(np.array([[[-1.0, 2.0], [4.0, 0.0]]]), (2, 2))[0].tolist()
    [[0.0, 0.5], [1.0, 0.0]]
    """
    positive = np.maximum(np.asarray(values, np.float32), 0.0)
    if positive.shape[1:] != size:
        counts = positive.shape[1:]
        sides = zip(size, counts, steps or (None, None))
        rows, columns = (interpolation_matrix(centered_positions(*side), *side[:2]) for side in sides)
        positive = rows @ positive @ columns.T
    scale = np.percentile(positive, percentile, axis=(1, 2), keepdims=True).astype(np.float32)
    # With fewer positive values than the percentile leaves out, the largest is the scale.
    scale = np.where(scale > 0, scale, positive.max(axis=(1, 2), keepdims=True))
    return np.clip(positive / np.where(scale > 0, scale, 1.0), 0.0, 1.0).astype(np.float32)
