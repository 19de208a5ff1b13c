"""One row of the catalogue of backbones."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """Properties of a backbone; None for a value that is not published.

    Args:
        name: str, as in keras.applications, or "hub:" and the name of a KerasHub preset.
        family: str, models with the same preprocessing, license and paper.
        parameters: int, number of parameters: with the ImageNet top, or of a whole KerasHub preset.
        features: int, channels of the output, and so the length of pooled features.
        depth: int, layers with weights on the longest path, as listed by Keras. Defaults to None.
        top1: float in [0, 1], top-1 accuracy on the ImageNet validation set. Defaults to None.
        top5: float in [0, 1], top-5 accuracy. Defaults to None.
        size_mb: float, size of the weights with the top, in megabytes. Defaults to None.
        default_size: int, side of the training images in pixels. Defaults to 224.
        min_size: int, smallest supported side in pixels. Defaults to 32.
        preprocessing: "none" ([0, 255]), "tf" ([-1, 1]), "torch" (normalized), "caffe" (BGR, centered), "lite" or
            "own" (that of a KerasHub preset). Defaults to "none".
        output: "feature map" (height, width, features) and "patch tokens", which the head pools; or "class token" and
            "pooled vector" (features). Defaults to "feature map".
        license: str, license of the published weights. Defaults to "", unknown.
        paper: str, URL. Defaults to "", unknown.
        source: str, URL of the published values. Defaults to "", unknown.

    Example:

    >>> BackboneSpec(name="small", family="small", parameters=10_000, features=64).to_dict()["default_size"]
    224
    """

    name: str
    family: str
    parameters: int
    features: int
    depth: int | None = None
    top1: float | None = None
    top5: float | None = None
    size_mb: float | None = None
    default_size: int = 224
    min_size: int = 32
    preprocessing: str = "none"
    output: str = "feature map"
    license: str = ""
    paper: str = ""
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the properties as a dict of plain values."""
        return dataclasses.asdict(self)
