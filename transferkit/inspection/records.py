"""What an inspection finds: one record per image, pair of images or pair of classes."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ImageKey:
    """An image of a data set.

    Attributes:
        split: str, name of the split.
        index: int, position in the split.
        path: str, or None for an array.
    """

    split: str
    index: int
    path: str | None

    def __str__(self) -> str:
        return self.path if self.path is not None else f"{self.split} {self.index}"


@dataclasses.dataclass(frozen=True)
class LabelIssue:
    """An image whose label is probably wrong.

    Attributes:
        image: `ImageKey`.
        label: str, the given label.
        suggested_label: str, the most probable one.
        score: float in [0, 1], (1 - margin) / 2, where the margin is the probability of the given label minus that of
            the suggested one. Above 0.5, another label is more probable.
        is_confident: bool, whether the suggested label is as probable as for images that have it (confident learning).
    """

    image: ImageKey
    label: str
    suggested_label: str
    score: float
    is_confident: bool


@dataclasses.dataclass(frozen=True)
class NearDuplicate:
    """Two images with almost equal features.

    Attributes:
        first, second: `ImageKey`.
        similarity: float in [-1, 1], cosine similarity of the features.
        labels: tuple of two str.
    """

    first: ImageKey
    second: ImageKey
    similarity: float
    labels: tuple[str, str]

    @property
    def across_splits(self) -> bool:
        """Whether the images are in different splits, so that metrics are too high."""
        return self.first.split != self.second.split


@dataclasses.dataclass(frozen=True)
class Outlier:
    """An image that is unlike all others.

    Attributes:
        image: `ImageKey`.
        label: str.
        distance: float in [0, 2], cosine distance to the fifth nearest image.
        score: float, robust standard deviations by which the distance exceeds the median.
    """

    image: ImageKey
    label: str
    distance: float
    score: float


@dataclasses.dataclass(frozen=True)
class ClassOverlap:
    """Two classes that the features do not separate well.

    Attributes:
        classes: tuple of two str.
        images: int, number of images of either class that are predicted as the other one.
        fraction: float in [0, 1], of all images of both classes.
    """

    classes: tuple[str, str]
    images: int
    fraction: float


@dataclasses.dataclass(frozen=True)
class ImageIssue:
    """An image that is dark, bright, blurry, small or of an unusual shape.

    Attributes:
        image: `ImageKey`.
        label: str.
        issue: "dark", "bright", "blurry", "small" or "odd aspect ratio".
        value: float, the measured value: mean gray in [0, 255], variance of the Laplacian, pixels of the shorter side,
            or width over height.
        score: float, robust standard deviations from the median of the data set.
    """

    image: ImageKey
    label: str
    issue: str
    value: float
    score: float
