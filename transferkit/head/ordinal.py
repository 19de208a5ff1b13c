"""A head for classes in an order, such as stages or grades."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

THRESHOLDS = "thresholds"
# With two classes there is one threshold, which is a linear head.
MIN_CLASSES = 3


def threshold_layer(num_classes: int, kernel_regularizer: Any) -> keras.layers.Layer:
    """Return the layer with one output for each class but the last: whether an image is above it."""
    options = {"kernel_initializer": "zeros", "kernel_regularizer": kernel_regularizer, "dtype": "float32"}
    return keras.layers.Dense(num_classes - 1, name=THRESHOLDS, **options)


def ordinal_logits(above: Any, num_classes: int) -> Any:
    """Return the logarithms of the class probabilities (batch, classes) of the outputs of a `threshold_layer`.

    Output k is the logit of "above class k" among the images that are at least of class k. The probability of a class
    is the product along the classes before it, so that the cross-entropy of these logits is the sum of the binary
    cross-entropies of the thresholds that an image has reached.

    Reference: Shi et al., "Deep Neural Networks for Rank-Consistent Ordinal Regression Based On Conditional
    Probabilities", 2021, arXiv:2111.08851.
    """
    # With weights of zero, all classes are equally probable.
    above = above + np.log(np.arange(num_classes - 1, 0, -1)).astype("float32")
    reached = keras.ops.cumsum(keras.ops.log_sigmoid(above), axis=-1)
    # log sigmoid(-x) = log sigmoid(x) - x: the image is not above the class.
    return keras.ops.concatenate([reached - above, reached[:, -1:]], axis=-1)
