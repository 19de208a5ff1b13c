"""How a file becomes an image, as a record that can be stored beside a model and in the key of a cache."""

from __future__ import annotations

import dataclasses
from typing import Any

from transferkit._utils.checks import check_choice, check_image_size

RESIZES = ("stretch", "crop", "pad")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")
# Changes whenever the same file would give other pixels than before, so that nothing stored is taken for the new.
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class ImageSpec:
    """How a file becomes an image: the same in training, evaluation, prediction and export.

    Args:
        image_size: (height, width) in pixels.
        resize: "stretch" to the size whatever the proportions, "crop" the middle, or "pad" with black.
        interpolation: as `tf.image.resize` names it.
        antialias: whether shrinking averages over all pixels.
        crop_fraction: with "crop", the part of the shorter side that is kept, in (0, 1].
        exact: whether a large JPEG is decoded at full size, where half, a quarter or an eighth of it would do: one
            whose sides are still at least twice the wanted ones.

    Raises:
        ValueError: when an argument is out of its range.

    Example:

    >>> ImageSpec((160, 160), resize="crop", crop_fraction=0.875).to_dict()["image_size"]
    [160, 160]
    """

    image_size: tuple[int, int]
    resize: str = "stretch"
    interpolation: str = "bilinear"
    antialias: bool = False
    crop_fraction: float = 1.0
    full_decode: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", check_image_size("image_size", self.image_size))
        check_choice("resize", self.resize, RESIZES)
        check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        if not 0 < self.crop_fraction <= 1:
            raise ValueError(f"`crop_fraction` must be in (0, 1]. Received: {self.crop_fraction!r}.")

    @property
    def min_decoded_side(self) -> int:
        """The shorter side in pixels that a decoded image needs at least; 0 for its full size."""
        # The scale must not depend on what is cropped away: the wanted side is that of the whole picture.
        return 0 if self.full_decode else int(max(self.image_size) / self.crop_fraction)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {**dataclasses.asdict(self), "image_size": list(self.image_size)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ImageSpec:
        """Return the spec that `to_dict` described."""
        return cls(**{**values, "image_size": tuple(values["image_size"])})

    def cache_key(self) -> str:
        """Return a text that changes whenever the pixels could."""
        return f"{_VERSION}:{sorted(self.to_dict().items())!r}"
