"""Preprocessing of RGB images in [0, 255] for each family of backbones; no other module uses another range."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from transferkit._utils.checks import check_choice

# The means and standard deviations of ImageNet, https://github.com/pytorch/vision/blob/main/references/classification
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
# Means of the blue, green and red channels of the training images of VGG: https://arxiv.org/abs/1409.1556
_CAFFE_MEAN = (103.939, 116.779, 123.68)
# Scale and offset of each mode; "caffe" reverses the channels before.
_RESCALING: dict[str, tuple[Any, Any]] = {
    "tf": (1 / 127.5, -1.0),
    "torch": ([1 / (255 * std) for std in _STD], [-mean / std for mean, std in zip(_MEAN, _STD)]),
    "caffe": (1.0, [-mean for mean in _CAFFE_MEAN]),
    "lite": (1 / 128, -127 / 128),
}
MODES = ("none", "tf", "torch", "caffe", "lite")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Preprocessing in standard Keras layers without weights, so that a saved model does not need this package.

    Args:
        mode: "none" (unchanged), "tf" (scales to [-1, 1]), "torch" (divides by 255 and normalizes with the means and
            standard deviations of ImageNet), "caffe" (converts to BGR and subtracts means) or "lite" ((x - 127) / 128).

    Raises:
        ValueError: if there is no such mode.

    Reference: `keras.applications.imagenet_utils.preprocess_input`, which is equal for the first four.
    """

    mode: str

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, MODES)

    def __call__(self, images: Any) -> Any:
        """Return preprocessed RGB images (batch, height, width, 3), given in [0, 255]."""
        if self.mode == "none":
            return images
        if self.mode == "caffe":
            # Slicing a Keras tensor is a Keras operation, which is saved and exported like a layer.
            images = images[..., ::-1]
        return keras.layers.Rescaling(*_RESCALING[self.mode], name="preprocessing")(images)


def rescaling_mode(scale: Any, offset: Any) -> str:
    """Return the mode of a scale and offset of RGB images, each a number or three, or "own" where no mode is equal.

    >>> rescaling_mode(1.0, 0.0), rescaling_mode(1 / 127.5, [-1.0] * 3), rescaling_mode(1 / 255, 0.0)
    ('none', 'tf', 'own')
    """
    known = {"none": (1.0, 0.0), **{mode: values for mode, values in _RESCALING.items() if mode != "caffe"}}
    given = np.broadcast_to(scale, 3), np.broadcast_to(offset, 3)
    return next((mode for mode, values in known.items() if _are_close(given, values)), "own")


def _are_close(given: Any, values: Any) -> bool:
    return all(np.allclose(one, two, rtol=1e-4, atol=1e-6) for one, two in zip(given, values))
