"""One row of the catalogue of backbones."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class BackboneSpec:
    """Properties of a backbone; None for a value that is not published.

    Attributes:
        name: str, the name in keras.applications.
        family: str, models with the same preprocessing, license and paper.
        parameters: int, number of parameters, the ImageNet top included.
        features: int, channels of the feature map, and so the length of pooled features.
        depth: int, layers with weights on the longest path, as listed by Keras.
        top1: float in [0, 1], top-1 accuracy on the ImageNet validation set.
        top5: float in [0, 1], top-5 accuracy.
        size_mb: float, size of the weights with the top, in megabytes.
        default_size: int, side of the training images in pixels.
        min_size: int, smallest supported side in pixels.
        preprocessing: "none" ([0, 255]), "tf" ([-1, 1]), "torch" (normalized), "caffe" (BGR, centered) or "lite".
        license: str, license of the published weights.
        paper: str, URL.
        source: str, URL of the published values.
    """

    name: str
    family: str
    parameters: int
    features: int
    depth: int | None
    top1: float | None
    top5: float | None
    size_mb: float | None
    default_size: int
    min_size: int
    preprocessing: str
    license: str
    paper: str
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Return the properties as a dict of plain values."""
        return dataclasses.asdict(self)
