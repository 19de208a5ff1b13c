"""Composes augmentation, backbone and head into one plain Keras model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras

from transferkit._utils.arguments import suggests_arguments
from transferkit.augmentation.block import AugmentationBlock
from transferkit.head import ClassifierHead, RegressionHead
from transferkit.modeling.keras_graph import mark_called
from transferkit.modeling.sharing import add_classifier

if TYPE_CHECKING:
    from transferkit.backbones.backbone import Backbone


@suggests_arguments
def build_classifier(
    backbone: Backbone,
    head: ClassifierHead | RegressionHead,
    *,
    augmentation: AugmentationBlock | None = None,
    name: str = "classifier",
) -> keras.Model:
    """Compose a classifier from augmentation, the preprocessing of the backbone, backbone and head.

    The backbone stays frozen. Its model is one nested layer, so that layer indices count as in that model. Classifiers
    of one backbone share its weights: to fine-tune them, create a backbone for each.

    Args:
        backbone: a `Backbone` of `BackboneFactory.create`.
        head: a `ClassifierHead`, or a `RegressionHead` for numbers as labels.
        augmentation: an `AugmentationBlock`, copied with its seed for this classifier. Defaults to None.
        name: str, the name of the model. Defaults to "classifier".

    Returns:
        A functional keras.Model from images (batch, height, width, 3), RGB in [0, 255], to logits (batch, units).

    Raises:
        TypeError: if an argument has another type.

    Example:

    >>> from transferkit.backbones import BackboneFactory
    >>> backbone = BackboneFactory.create("MobileNetV2", input_shape=(32, 32, 3), weights=None, alpha=0.35)
    >>> build_classifier(backbone, ClassifierHead(2)).output_shape
    (None, 1)
    """
    if not hasattr(backbone, "preprocessing") or not hasattr(backbone, "model"):
        raise TypeError(
            f"`backbone` must be a Backbone. Received: {type(backbone).__name__}. "
            "Create one with BackboneFactory.create(name_or_model, ...)."
        )
    if not isinstance(head, (ClassifierHead, RegressionHead)):
        raise TypeError(
            f"`head` must be a ClassifierHead. Received: {type(head).__name__}. Create one with ClassifierHead(...)."
        )
    if augmentation is not None and not isinstance(augmentation, AugmentationBlock):
        raise TypeError(
            f"`augmentation` must be an AugmentationBlock or None. Received: {type(augmentation).__name__}. "
            "Create one with AugmentationBlock(...)."
        )
    return compose(backbone, head, augmentation=augmentation, name=name)


def compose(
    backbone: Backbone, head: Callable[[Any], Any], *, augmentation: AugmentationBlock | None = None, name: str
) -> keras.Model:
    """Return the classifier of a backbone and a function from its features to logits."""
    augmented = images = keras.Input(backbone.input_shape, name="image")
    if augmentation is not None:
        # A layer called in two models has nodes of both, and a model cannot be cut at the output of a shared layer.
        augmented = type(augmentation).from_config(augmentation.get_config())(images)
    classifier = keras.Model(images, head(backbone(augmented)), name=name)
    add_classifier(backbone.model, classifier)
    return mark_called(classifier)


def find_augmentation(model: keras.Model) -> AugmentationBlock | None:
    """Return the augmentation layer of a model, or None."""
    return next((layer for layer in model.layers if isinstance(layer, AugmentationBlock)), None)
