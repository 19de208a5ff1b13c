"""Insertion and deletion: whether the pixels of a heat map are those that the prediction depends on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_int
from transferkit.data.numbers import require_classes
from transferkit.explanation.classifier_source import ClassifierSource, classifier_source
from transferkit.explanation.explanation import Explanation

# Standard deviation of the blur of the image in which pixels are inserted, as a part of the shorter side.
_BLUR = 1 / 12


@dataclasses.dataclass(frozen=True, eq=False)
class Faithfulness:
    """Probabilities of the explained classes while pixels are inserted or deleted, the most important ones first.

    Attributes:
        fractions: float (steps + 1,), of the pixels, from 0 to 1.
        insertion: float (n, steps + 1), probabilities while pixels are inserted in the blurred image.
        deletion: float (n, steps + 1), probabilities while pixels are replaced by the mean color of the image.

    Example:

    >>> half = Faithfulness(np.array([0, 0.5, 1]), np.array([[0.2, 0.8, 1.0]]), np.array([[1.0, 0.4, 0.2]]))
    >>> half
    Faithfulness(insertion_area=0.7000, deletion_area=0.5000, 1 images)
    """

    fractions: np.ndarray
    insertion: np.ndarray
    deletion: np.ndarray

    @property
    def insertion_area(self) -> float:
        """Mean area under the insertion curves, in [0, 1]; higher is better."""
        return _mean_area(self.insertion)

    @property
    def deletion_area(self) -> float:
        """Mean area under the deletion curves, in [0, 1]; lower is better."""
        return _mean_area(self.deletion)

    def __repr__(self) -> str:
        areas = f"insertion_area={self.insertion_area:.4f}, deletion_area={self.deletion_area:.4f}"
        return f"Faithfulness({areas}, {len(self.insertion)} images)"


@suggests_arguments
def faithfulness(predictor: Any, explanations: Sequence[Explanation], *, steps: int = 20) -> Faithfulness:
    """Measure how the probability of the explained class depends on the pixels that a heat map marks.

    Compare methods on the same images: the areas depend on the images and on the model.

    Args:
        predictor: the `Predictor` or `Trainer` whose predictions were explained.
        explanations: list of `Explanation`; those with an error are left out.
        steps: int >= 1. Points of the curves, which have equally many pixels each. Defaults to 20.

    Returns:
        A `Faithfulness`: `.insertion_area`, `.deletion_area` and the curves.

    Raises:
        DataError: for a model of numbers.
        ValueError: when `steps` is out of its range, or there is no explanation.

    Example:

    >>> tk.explanation.faithfulness(predictor, tk.explain(predictor, data.test))  # doctest: +SKIP
    Faithfulness(insertion_area=0.9012, deletion_area=0.2210, 200 images)

    Reference: Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018,
    arXiv:1806.07421.
    """
    check_int("steps", steps)
    classifier = classifier_source(predictor)
    require_classes(classifier, "`faithfulness`")
    valid = [one for one in explanations if one.error is None]
    if not valid:
        raise ValueError("`explanations` must have at least one without an error. Received: none.")
    curves = [_curves(classifier, one, steps) for one in valid]
    return Faithfulness(np.linspace(0, 1, steps + 1), *(np.stack(part) for part in zip(*curves)))


def _curves(classifier: ClassifierSource, explanation: Explanation, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities (steps + 1,) while pixels of one image are inserted, and while they are deleted."""
    assert explanation.image is not None and explanation.heatmap is not None and explanation.class_name is not None
    image = explanation.image.astype(np.float32)
    mean = np.broadcast_to(image.mean(axis=(0, 1)), image.shape)
    index = classifier.class_names.index(explanation.class_name)
    masks = importance_masks(explanation.heatmap, steps)[..., None]
    return (
        classifier.probabilities(np.where(masks, image, blur(image)))[:, index],
        classifier.probabilities(np.where(masks, mean, image))[:, index],
    )


def _mean_area(curves: np.ndarray) -> float:
    """Return the mean area by the trapezoidal rule under curves with equal distances."""
    return float(((curves[:, 1:] + curves[:, :-1]) / 2).mean())


def importance_masks(heatmap: np.ndarray, steps: int) -> np.ndarray:
    """Return bool (steps + 1, height, width): the 0, 1/steps, ..., 1 of all pixels with the largest values.

    >>> importance_masks(np.array([[0.1, 0.9]]), 2).astype(int).tolist()
    [[[0, 0]], [[0, 1]], [[1, 1]]]
    """
    order = np.argsort(-heatmap.ravel(), kind="stable")
    rank = np.empty(heatmap.size, int)
    rank[order] = np.arange(heatmap.size)
    counts = np.rint(np.linspace(0, heatmap.size, steps + 1))
    return (rank < counts[:, None]).reshape(steps + 1, *heatmap.shape)


def blur(image: np.ndarray) -> np.ndarray:
    """Return an image (height, width, channels) blurred by a Gaussian, with the edge pixels repeated outside."""
    sigma = max(min(image.shape[:2]) * _BLUR, 1e-6)
    radius = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    result = np.asarray(image, np.float64)
    for axis in (0, 1):
        padding = [(radius, radius) if one == axis else (0, 0) for one in range(result.ndim)]
        padded = np.pad(result, padding, mode="edge")
        size = result.shape[axis]
        result = sum(  # type: ignore[assignment]
            weight * np.take(padded, range(start, start + size), axis) for start, weight in enumerate(kernel)
        )
    return result.astype(np.float32)
