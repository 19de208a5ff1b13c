"""Random augmentation of training images."""

from transferkit.augmentation.block import AugmentationBlock

__all__ = ["AugmentationBlock"]
