"""Integrated gradients: the contribution of each pixel to the score of a class."""

from __future__ import annotations

import dataclasses

import numpy as np

from transferkit._utils.checks import check_choice, check_int
from transferkit.explanation.attribution import Attribution, to_heatmaps
from transferkit.explanation.explained_model import PREDICTED, ROWS_PER_CALL, ExplainedModel

BASELINES = ("black", "mean")
# A few pixels have far larger values than all others: without them, the rest of a heat map is visible.
_PERCENTILE = 99.0


@dataclasses.dataclass(frozen=True)
class IntegratedGradients:
    """Gradients of a score along the line from a baseline image to the image, times the difference of both.

    The values of all pixels add up to the difference of the scores of image and baseline.

    Args:
        steps: int >= 1. Points on the line, which share one gradient each; more are more exact. Defaults to 32.
        baseline: "black", or "mean" for an image of the mean color of the image. Defaults to "black".

    Raises:
        ValueError: when an argument is out of its range.

    Example:

    >>> IntegratedGradients(steps=64, baseline="mean").name
    'integrated_gradients'

    Reference: Sundararajan et al., "Axiomatic Attribution for Deep Networks", 2017, arXiv:1703.01365.
    """

    _: dataclasses.KW_ONLY
    steps: int = 32
    baseline: str = "black"

    def __post_init__(self) -> None:
        check_int("steps", self.steps)
        check_choice("baseline", self.baseline, BASELINES)

    @property
    def name(self) -> str:
        """The name in `METHODS`."""
        return "integrated_gradients"

    def attribute(self, model: ExplainedModel, images: np.ndarray, classes: np.ndarray) -> Attribution:
        """Return the values of all pixels, summed over the colors, of one class per image.

        Args:
            model: `ExplainedModel`, a model with the score of each class.
            images: float32 (n, height, width, 3), RGB in [0, 255].
            classes: int (n,), the explained class of each image.
        """
        outputs = model.outputs(images)
        # The class must not change on the line.
        classes = np.where(classes == PREDICTED, model.predicted(outputs), classes)
        baselines = self._baselines(images)
        total = np.zeros(images.shape, np.float64)
        # Midpoints of equal parts of the line.
        fractions = ((np.arange(self.steps) + 0.5) / self.steps).astype(np.float32)
        per_call = max(1, ROWS_PER_CALL // len(images))
        for start in range(0, self.steps, per_call):
            chosen = fractions[start : start + per_call]
            points = np.concatenate([baselines + fraction * (images - baselines) for fraction in chosen])
            gradients = model.input_gradients(points, np.tile(classes, len(chosen)))[0]
            total += gradients.reshape(len(chosen), *images.shape).sum(axis=0)
        values = ((images - baselines) * total / self.steps).sum(axis=-1).astype(np.float32)
        return Attribution(values, to_heatmaps(values, model.input_size, _PERCENTILE), outputs)

    def _baselines(self, images: np.ndarray) -> np.ndarray:
        if self.baseline == "black":
            return np.zeros_like(images)
        return np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)
