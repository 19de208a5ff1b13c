"""Occlusion: how much the score of a class decreases when a part of the image is covered. Needs no gradients."""

from __future__ import annotations

import dataclasses

import numpy as np

from transferkit._utils.checks import check_int
from transferkit.explanation.attribution import Attribution, to_heatmaps
from transferkit.explanation.explained_model import PREDICTED, ROWS_PER_CALL, ExplainedModel

# By default a patch is this part of the shorter side, and patches overlap by half.
_PATCHES_PER_SIDE = 5


@dataclasses.dataclass(frozen=True)
class Occlusion:
    """Decrease of a score when a patch of the image has the image's mean color; a pixel has the mean of its patches.

    Args:
        patch_size: int >= 1. Side of the square patches in pixels. Defaults to None, a fifth of the shorter side.
        stride: int in [1, patch_size]. Distance of patches in pixels. Defaults to None, half the patch.

    Raises:
        ValueError: when an argument is out of its range.

    Example:

    >>> Occlusion(patch_size=32, stride=8).name
    'occlusion'

    Reference: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014, arXiv:1311.2901.
    """

    _: dataclasses.KW_ONLY
    patch_size: int | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        for name in ("patch_size", "stride"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name))
        if self.stride is not None and self.patch_size is not None and self.stride > self.patch_size:
            raise ValueError(
                f"`stride` must be at most the patch size, {self.patch_size}, so that patches cover the image. "
                f"Received: {self.stride}. Give a smaller one."
            )

    @property
    def name(self) -> str:
        """The name in `METHODS`."""
        return "occlusion"

    def attribute(self, model: ExplainedModel, images: np.ndarray, classes: np.ndarray) -> Attribution:
        """Return the mean decrease of each pixel, of one class per image, with a few patches at a time.

        Args:
            model: `ExplainedModel`, a model with the score of each class.
            images: float32 (n, height, width, 3), RGB in [0, 255].
            classes: int (n,), the explained class of each image.
        """
        outputs = model.outputs(images)
        # The class must not change with the patch.
        classes = np.where(classes == PREDICTED, model.predicted(outputs), classes)
        scores, colors = model.scores(outputs, classes), images.mean(axis=(1, 2), keepdims=True)
        total, counts = np.zeros(images.shape[:3], np.float64), np.zeros(images.shape[1:3])
        patches = self._patches(images.shape[1], images.shape[2])
        per_call = max(1, ROWS_PER_CALL // len(images))
        for start in range(0, len(patches), per_call):
            covering = patches[start : start + per_call]
            covered = np.concatenate([_covered(images, patch, colors) for patch in covering])
            remaining = model.scores(model.outputs(covered), np.tile(classes, len(covering)))
            for (rows, columns), values in zip(covering, scores - remaining.reshape(len(covering), -1)):
                total[:, rows, columns] += values[:, None, None]
                counts[rows, columns] += 1
        means = (total / counts).astype(np.float32)
        return Attribution(means, to_heatmaps(means, model.input_size), outputs)

    def _patches(self, height: int, width: int) -> list[tuple[slice, slice]]:
        """Return rows and columns of each patch; the last ones end at the border."""
        size = min(self.patch_size or max(1, min(height, width) // _PATCHES_PER_SIDE), height, width)
        stride = min(self.stride or max(1, size // 2), size)
        starts = [
            sorted({min(start, side - size) for start in range(0, side - size + stride, stride)})
            for side in (height, width)
        ]
        return [(slice(top, top + size), slice(left, left + size)) for top in starts[0] for left in starts[1]]


def _covered(images: np.ndarray, patch: tuple[slice, slice], colors: np.ndarray) -> np.ndarray:
    """Return a copy of images with a patch in one color per image."""
    covered = images.copy()
    covered[:, patch[0], patch[1]] = colors
    return covered
