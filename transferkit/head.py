"""The classification head: pooling, hidden layers, dropout and a dense layer of logits."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any

import keras

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_choice, check_fraction, check_int, check_number

POOLINGS = ("avg", "max", "flatten")


@suggests_arguments
@dataclasses.dataclass(frozen=True)
class ClassifierHead:
    """A validated description of a classification head; calling it on features creates the layers.

    The head outputs logits, not probabilities: one logit with threshold 0.0 for two classes, else one logit per class.
    With `multi_label`, each class has an independent logit.

    Args:
        num_classes: int >= 2, or >= 1 with `multi_label`. Number of classes.
        pooling: "avg", "max" (global pooling) or "flatten": how a feature map (height, width, channels), or tokens
            (tokens, channels), become a vector. Vectors are left unchanged. Defaults to "avg".
        dropout: float in [0, 1). Fraction of the features dropped in training. Defaults to 0.2.
        hidden: sequence of ints >= 1. Units of ReLU layers before the logits. Defaults to (), none.
        l2: float >= 0. L2 regularization factor of the kernels, added to the loss. Defaults to 0.
        multi_label: bool. Whether an image can have any number of labels. Defaults to False.
        seed: int >= 0. Seed of dropout and of the initial weights of hidden layers. Defaults to 0.

    Raises:
        ValueError: if an argument is out of its range.
        TypeError: if `num_classes` or `hidden` has another type.

    Example:

    >>> import keras
    >>> head = ClassifierHead(2, dropout=0.2)
    >>> head(keras.Input((5, 5, 1280))).shape
    (None, 1)
    """

    num_classes: int
    _: dataclasses.KW_ONLY
    pooling: str = "avg"
    dropout: float = 0.2
    hidden: Sequence[int] = ()
    l2: float = 0.0
    multi_label: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.num_classes, numbers.Integral):
            received = type(self.num_classes).__name__
            raise TypeError(
                f"`num_classes` must be an integer. Received: {received}. Give, for example, data.num_classes."
            )
        hint = "A classifier needs at least two classes. For one yes-or-no label, use two classes."
        check_int("num_classes", self.num_classes, minimum=1 if self.multi_label else 2, hint=hint)
        check_choice("pooling", self.pooling, POOLINGS)
        check_fraction("dropout", self.dropout, below_one=True)
        if not hasattr(self.hidden, "__iter__"):
            raise TypeError(
                f"`hidden` must be a sequence of integers. Received: {self.hidden!r}. Give, for example, (128,)."
            )
        for units in self.hidden:
            check_int("hidden", units)
        check_number("l2", self.l2, minimum=0)
        check_int("seed", self.seed, minimum=0)

    @property
    def units(self) -> int:
        """Number of logits: 1 for two classes, else one per class."""
        return 1 if self.num_classes == 2 and not self.multi_label else self.num_classes

    def layers(self, rank: int = 4) -> list[keras.layers.Layer]:
        """Return new Keras layers, in order.

        Args:
            rank: int in [2, 4]. Number of dimensions of the features, the batch included. Defaults to 4.

        Raises:
            ValueError: if `rank` is larger than 4.
        """
        options: dict[str, Any] = {"kernel_regularizer": keras.regularizers.L2(self.l2) if self.l2 else None}
        layers = self._pooling_layers(rank)
        for index, units in enumerate(self.hidden, 1):
            initializer = keras.initializers.HeNormal(seed=self.seed + index)
            dense = keras.layers.Dense(units, "relu", kernel_initializer=initializer, name=f"hidden_{index}", **options)
            layers.append(dense)
        if self.dropout:
            layers.append(keras.layers.Dropout(self.dropout, seed=self.seed, name="dropout"))
        # Zero weights make all classes equally probable at the start, for every seed. Logits stay float32 under mixed
        # precision, because 16 bits are too coarse for the loss.
        options |= {"kernel_initializer": "zeros", "dtype": "float32"}
        return [*layers, keras.layers.Dense(self.units, name="logits", **options)]

    def __call__(self, features: Any) -> Any:
        """Return the logits (batch, units) of features (batch, channels), (batch, tokens, channels) or feature maps."""
        for layer in self.layers(len(features.shape)):
            features = layer(features)
        return features

    def _pooling_layers(self, rank: int) -> list[keras.layers.Layer]:
        if rank > 4:
            raise ValueError(
                "Features must be (batch, channels), (batch, tokens, channels) or (batch, height, width, channels). "
                f"Received: rank {rank}. Pool or reshape them at the end of the backbone."
            )
        if rank > 2 and self.pooling == "flatten":
            return [keras.layers.Flatten(name="pooling")]
        return [global_pooling(self.pooling, rank, name="pooling")] if rank > 2 else []


def global_pooling(pooling: str, rank: int, **options: Any) -> keras.layers.Layer:
    """Return the layer that pools feature maps (rank 4) or tokens (rank 3) to vectors; `pooling` is "avg" or "max"."""
    kind = {"avg": "Average", "max": "Max"}[pooling]
    return getattr(keras.layers, f"Global{kind}Pooling{rank - 2}D")(**options)
