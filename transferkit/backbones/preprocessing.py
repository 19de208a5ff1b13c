"""From RGB in [0, 255] to what a family of backbones was trained on: the only file that knows another range."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from transferkit._utils.checks import check_choice

# The means and standard deviations of ImageNet, https://github.com/pytorch/vision/blob/main/references/classification
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
# The means of the channels blue, green and red with which VGG was trained: https://arxiv.org/abs/1409.1556
_CAFFE_MEAN = (103.939, 116.779, 123.68)
MODES = ("none", "tf", "torch", "caffe", "lite")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """A family's preprocessing as standard Keras layers, without weights and without code of ours in a saved file.

    Args:
        mode: "none" (leaves [0, 255]), "tf" (to [-1, 1]), "torch" (divides by 255 and normalises by ImageNet's means
            and deviations), "caffe" (to BGR, subtracts means) or "lite" ((x - 127) / 128).

    Reference: `keras.applications.imagenet_utils.preprocess_input`, to which the first four are equal.
    """

    mode: str

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, MODES)

    def __call__(self, images: Any) -> Any:
        """Apply it to RGB images (batch, height, width, 3) in [0, 255]."""
        if self.mode == "tf":
            return _rescaling(1 / 127.5, -1.0)(images)
        if self.mode == "torch":
            scale = [1 / (255 * std) for std in _STD]
            return _rescaling(scale, [-mean / std for mean, std in zip(_MEAN, _STD)])(images)
        if self.mode == "caffe":
            # A slice is an operation of Keras' own; it saves and exports like a layer.
            return _rescaling(1.0, [-mean for mean in _CAFFE_MEAN])(images[..., ::-1])
        if self.mode == "lite":
            return _rescaling(1 / 128, -127 / 128)(images)
        return images


def _rescaling(scale: Any, offset: Any) -> keras.layers.Layer:
    return keras.layers.Rescaling(scale, offset, name="preprocessing")
