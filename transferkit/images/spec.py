"""How a file becomes an image array: stored with a model and part of cache keys."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from transferkit._utils.checks import check_choice, check_image_size

RESIZES = ("stretch", "crop", "pad")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")
# Changes whenever the same file would give other pixels than before, which invalidates cached images and features.
_VERSION = 3


class ResizeGeometry(NamedTuple):
    """Which part of a decoded image is resized to which size, and its position in the output; all in pixels."""

    top: int
    left: int
    height: int
    width: int
    new_height: int
    new_width: int
    new_top: int = 0
    new_left: int = 0


@dataclasses.dataclass(frozen=True)
class ImageSpec:
    """How a file becomes an image array: the same in training, evaluation, prediction and export.

    Args:
        image_size: int or (height, width), in pixels, each >= 1.
        resize: "stretch" (ignores the aspect ratio), "crop" (center crop) or "pad" (with black). Defaults to
            "stretch".
        interpolation: a method of `tf.image.resize`. Defaults to "bilinear".
        antialias: bool. Whether downsampling averages over all pixels. Defaults to False.
        crop_fraction: float in (0, 1]. With "crop", the fraction of the shorter side that is kept. Defaults to 1.0.
        full_decode: bool. Whether large JPEG files are decoded at full size even where 1/2, 1/4 or 1/8 of it is at
            least twice the output size. Defaults to False.

    Raises:
        ValueError: when an argument is out of range.

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

    def jpeg_scale_denominator(self, shorter_side: int) -> int:
        """Return 8, 4, 2 or 1: a JPEG of this `shorter_side` in pixels may be decoded at one over this of its size."""
        if self.full_decode:
            return 1
        # The scale must not depend on the crop, so the required side is that of the uncropped image. Twice
        # the required side remains, so that resizing still interpolates between original pixels.
        required = 2 * int(max(self.image_size) / self.crop_fraction)
        return next((scale for scale in (8, 4, 2) if shorter_side // scale >= required), 1)

    def geometry(self, height: int, width: int) -> ResizeGeometry:
        """Return how a decoded image of `height` times `width` pixels is cropped, resized and padded."""
        size = self.image_size
        if self.resize == "crop":
            kept_height = max(1, round(min(height, width * size[0] / size[1]) * self.crop_fraction))
            kept_width = max(1, round(min(width, height * size[1] / size[0]) * self.crop_fraction))
            return ResizeGeometry(
                (height - kept_height) // 2, (width - kept_width) // 2, kept_height, kept_width, *size
            )
        if self.resize == "pad":
            scale = min(size[0] / height, size[1] / width)
            new_height = max(1, min(size[0], round(height * scale)))
            new_width = max(1, min(size[1], round(width * scale)))
            corner = (size[0] - new_height) // 2, (size[1] - new_width) // 2
            return ResizeGeometry(0, 0, height, width, new_height, new_width, *corner)
        return ResizeGeometry(0, 0, height, width, *size)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {**dataclasses.asdict(self), "image_size": list(self.image_size)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ImageSpec:
        """Return the spec of the `values` of `to_dict`."""
        return cls(**{**values, "image_size": tuple(values["image_size"])})

    def cache_key(self) -> str:
        """Return text that differs whenever the pixels could."""
        return f"{_VERSION}:{self!r}"
