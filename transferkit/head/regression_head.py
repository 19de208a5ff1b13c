"""The head for numbers as labels: one output in the unit of the labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from transferkit._utils.arguments import suggests_arguments
from transferkit.head.classifier_head import ClassifierHead

UNIT_LAYER = "unit_of_labels"


@suggests_arguments
@dataclasses.dataclass(frozen=True)
class RegressionHead:
    """A validated description of a head that predicts one number; calling it on features creates the layers.

    The trained layers predict the standardized number. A last dense layer, which is frozen, multiplies it by the
    standard deviation of the training labels and adds their mean; `Trainer.fit` sets both. So the model returns the
    unit of the labels, and the learning rate does not depend on it.

    Args:
        pooling: as of `ClassifierHead`. Defaults to "avg".
        dropout: float in [0, 1). Fraction of the features dropped in training steps. Defaults to 0.2.
        hidden: sequence of ints >= 1. Units of ReLU layers before the output. Defaults to (), none.
        l2: float >= 0. L2 regularization factor of the kernels, added to the loss. Defaults to 0.
        seed: int >= 0. Seed of dropout and of the initial weights of hidden layers. Defaults to 0.

    Raises:
        ValueError: if an argument is out of its range.
        TypeError: if `hidden` has another type.

    Example:

    >>> import keras
    >>> RegressionHead()(keras.Input((5, 5, 1280))).shape
    (None, 1)
    """

    _: dataclasses.KW_ONLY
    pooling: str = "avg"
    dropout: float = 0.2
    hidden: Sequence[int] = ()
    l2: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        self._standardized()

    def layers(self, rank: int = 4) -> list[keras.layers.Layer]:
        """Return new Keras layers, in order.

        Args:
            rank: int in [2, 4]. Number of dimensions of the features, the batch included. Defaults to 4.

        Raises:
            ValueError: if `rank` is larger than 4.
        """
        # 16 bits are too coarse for labels such as years.
        unit = keras.layers.Dense(1, kernel_initializer="ones", trainable=False, dtype="float32", name=UNIT_LAYER)
        return [*self._standardized().layers(rank), unit]

    def __call__(self, features: Any) -> Any:
        """Return the numbers (batch, 1) of features (batch, channels), (batch, tokens, channels) or feature maps."""
        for layer in self.layers(len(features.shape)):
            features = layer(features)
        return features

    def _standardized(self) -> ClassifierHead:
        # Its one logit, without an activation, is the standardized number.
        return ClassifierHead(2, **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})


def unit_layer(model: keras.Model) -> Any:
    """Return the layer of a `RegressionHead` that has the unit of the labels, or None for another head."""
    layer = model.layers[-1] if model.layers else None
    return layer if isinstance(layer, keras.layers.Dense) and layer.name == UNIT_LAYER else None


def unit_scale(model: keras.Model) -> float:
    """Return the standard deviation that is set in a `RegressionHead`; 1 before training and for another head."""
    layer = unit_layer(model)
    return 1.0 if layer is None else float(np.asarray(layer.kernel)[0, 0])


def label_unit(labels: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Return the mean and the standard deviation of labels; 1 in place of a standard deviation of 0.

    >>> label_unit(np.array([1.0, 3.0]))
    (2.0, 1.0)
    """
    values = labels.astype(np.float64)
    mean = np.average(values, weights=weights)
    return float(mean), float(np.sqrt(np.average((values - mean) ** 2, weights=weights))) or 1.0


def has_unit(model: keras.Model) -> bool:
    """Return whether the unit of the labels is set in a `RegressionHead`, as by its first phase of training."""
    layer = unit_layer(model)
    return layer is not None and not all((np.asarray(w) == start).all() for w, start in zip(layer.weights, (1, 0)))


def set_unit(model: keras.Model, labels: np.ndarray, weights: np.ndarray | None = None) -> None:
    """Set mean and standard deviation of the labels, unless they are set: a trained head keeps its unit."""
    layer = unit_layer(model)
    if layer is not None and not has_unit(model):
        mean, scale = label_unit(labels, weights)
        layer.set_weights([np.array([[scale]], np.float32), np.array([mean], np.float32)])
