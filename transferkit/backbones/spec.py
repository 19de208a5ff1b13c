"""One row of the catalogue: what is known of a backbone."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class BackboneSpec:
    """A backbone's figures; None where nobody has published one.

    Attributes:
        name: as Keras spells it.
        family: what it shares preprocessing, licence and paper with.
        parameters: numbers in the model with its ImageNet top.
        features: channels of the feature map, the width of pooled features.
        depth: layers with weights on the longest way, as the Keras page counts them.
        top1: accuracy on the ImageNet validation set, in [0, 1].
        top5: likewise, among the five best.
        size_mb: of the weights with the top, in megabytes.
        default_size: side of the images that it was trained on, in pixels.
        min_size: smallest side that it takes, in pixels.
        preprocessing: "tf" ([-1, 1]), "caffe" (BGR, means subtracted), "torch" (normalised), "none" ([0, 255]) or
            "custom".
        licence: of the published weights.
        paper: where it was described.
        source: where the figures come from.
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
        """Return the row as plain values."""
        return dataclasses.asdict(self)
