"""Preprocessing of RGB images in [0, 255] for each family of backbones; no other module uses another range."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from transferkit._utils.checks import check_choice

# The means and standard deviations of ImageNet, https://github.com/pytorch/vision/blob/main/references/classification
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
# Means of the blue, green and red channels of the training images of VGG: https://arxiv.org/abs/1409.1556
_CAFFE_MEAN = (103.939, 116.779, 123.68)
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
        scale: Any = 1.0
        offset: Any
        if self.mode == "tf":
            scale, offset = 1 / 127.5, -1.0
        elif self.mode == "torch":
            scale, offset = [1 / (255 * std) for std in _STD], [-mean / std for mean, std in zip(_MEAN, _STD)]
        elif self.mode == "caffe":
            # Slicing a Keras tensor is a Keras operation, which is saved and exported like a layer.
            images, offset = images[..., ::-1], [-mean for mean in _CAFFE_MEAN]
        else:
            scale, offset = 1 / 128, -127 / 128
        return keras.layers.Rescaling(scale, offset, name="preprocessing")(images)
