"""Putting augmentation, backbone and head together into one plain Keras model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from transferkit.augmentation.block import AugmentationBlock
from transferkit.head import ClassifierHead

if TYPE_CHECKING:
    from transferkit.backbones.backbone import Backbone


def build_classifier(
    backbone: Backbone,
    head: ClassifierHead,
    *,
    augmentation: AugmentationBlock | None = None,
    name: str = "classifier",
) -> keras.Model:
    """Compose a classifier: input, augmentation, the backbone's own preprocessing, backbone, head.

    The backbone stays as it comes: frozen. Its base is one nested layer, so that the summary reads as the
    composition does, and layer numbers count as in the base alone.

    Args:
        backbone: what `BackboneFactory.create` gave.
        head: what is trained on top.
        augmentation: random variations of the training images, or None.
        name: name of the model.

    Returns:
        A functional keras.Model from float images (batch, height, width, 3), RGB in [0, 255], to logits
        (batch, units).

    Raises:
        TypeError: when a part is not what it must be.

    Example:

    >>> backbone = BackboneFactory.create("MobileNetV2", input_shape=(96, 96, 3), weights=None)  # doctest: +SKIP
    >>> build_classifier(backbone, ClassifierHead(2)).output_shape  # doctest: +SKIP
    (None, 1)
    """
    if not hasattr(backbone, "preprocessing") or not hasattr(backbone, "model"):
        raise TypeError(
            f"`backbone` must be a backbone. Received: {type(backbone).__name__}. "
            "Make one with BackboneFactory.create(name_or_model, ...)."
        )
    if not isinstance(head, ClassifierHead):
        raise TypeError(f"`head` must be a ClassifierHead. Received: {type(head).__name__}.")
    if augmentation is not None and not isinstance(augmentation, AugmentationBlock):
        raise TypeError(
            f"`augmentation` must be an AugmentationBlock or None. Received: {type(augmentation).__name__}."
        )
    images = keras.Input(backbone.input_shape, name="image")
    augmented = images if augmentation is None else augmentation(images)
    return keras.Model(images, head(backbone(augmented)), name=name)


def find_backbone(model: keras.Model) -> keras.Model:
    """Return the nested model with the most numbers in it, or `model` itself where it nests none.

    It finds the backbone in classifiers of `build_classifier` and in those written by hand alike.
    """
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model) and layer.weights]
    return max(nested, key=lambda layer: layer.count_params()) if nested else model


def find_augmentation(model: keras.Model) -> AugmentationBlock | None:
    """Return the model's augmentation block, or None."""
    return next((layer for layer in model.layers if isinstance(layer, AugmentationBlock)), None)
