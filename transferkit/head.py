"""The trainable end of a classifier: pooling, dropout and a dense layer that gives logits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from transferkit._utils.checks import check_choice, check_fraction, check_int, check_number
from transferkit.backbones.pooling import global_pooling

POOLINGS = ("avg", "max", "flatten")


@dataclasses.dataclass(frozen=True)
class ClassifierHead:
    """A checked description of a classification head; calling it on features builds the layers.

    The head gives logits, never probabilities: two classes mean one logit, whose threshold is 0.0; more classes
    mean one logit each; with `multi_label` every class has an independent logit.

    Args:
        num_classes: number of classes, at least 2 (at least 1 with `multi_label`).
        pooling: how a feature map (height, width, channels), or a row of tokens (tokens, channels), becomes a vector:
            "avg" (global average), "max" or "flatten". Features that are vectors already are left as they are.
        dropout: share of the features dropped while training, in [0, 1).
        hidden: widths of dense layers with ReLU before the logits.
        l2: weight decay on the kernels, of at least 0, added to the loss.
        multi_label: whether an image can have any number of the classes.
        seed: integer of at least 0 for the dropout and the first weights of hidden layers; the logits start from zero.

    Raises:
        ValueError: when an argument is out of its range.

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
        if self.multi_label:
            check_int("num_classes", self.num_classes)
        else:
            check_int(
                "num_classes",
                self.num_classes,
                minimum=2,
                hint="A classifier tells at least two classes apart; for one yes-or-no label use two classes.",
            )
        check_choice("pooling", self.pooling, POOLINGS)
        check_fraction("dropout", self.dropout, below_one=True)
        for units in self.hidden:
            check_int("hidden", units)
        check_number("l2", self.l2, minimum=0)
        check_int("seed", self.seed, minimum=0)

    @property
    def units(self) -> int:
        """Number of logits: 1 for two classes, else one for each class."""
        return 1 if self.num_classes == 2 and not self.multi_label else self.num_classes

    def layers(self, rank: int = 4) -> list[keras.layers.Layer]:
        """Return new Keras layers in order, for features of `rank` dimensions (the batch counted)."""
        regularizer = keras.regularizers.L2(self.l2) if self.l2 else None
        layers = [*self._pooling_layers(rank)]
        for index, units in enumerate(self.hidden):
            name = f"hidden_{index + 1}"
            initializer = keras.initializers.HeNormal(seed=self.seed + index + 1)
            layers.append(
                keras.layers.Dense(
                    units,
                    activation="relu",
                    kernel_initializer=initializer,
                    kernel_regularizer=regularizer,
                    name=name,
                )
            )
        if self.dropout:
            layers.append(keras.layers.Dropout(self.dropout, seed=self.seed, name="dropout"))
        # From zero, every class is as probable as the others at first, whatever the seed, and no step is spent on
        # unlearning random guesses. Logits stay float32 under mixed precision: half of it is too coarse for a loss.
        layers.append(
            keras.layers.Dense(
                self.units,
                kernel_initializer="zeros",
                kernel_regularizer=regularizer,
                dtype="float32",
                name="logits",
            )
        )
        return layers

    def __call__(self, features: Any) -> Any:
        """Apply new layers to `features` (batch, height, width, channels) or (batch, channels); return the logits."""
        for layer in self.layers(len(features.shape)):
            features = layer(features)
        return features

    def _pooling_layers(self, rank: int) -> list[keras.layers.Layer]:
        if rank <= 2:
            return []
        if rank not in (3, 4):
            raise ValueError(
                "Features must be (batch, channels), (batch, tokens, channels) or (batch, height, width, channels). "
                f"Received: rank {rank}. Pool or reshape them at the end of the backbone."
            )
        if self.pooling == "flatten":
            return [keras.layers.Flatten(name="pooling")]
        return [global_pooling(self.pooling, rank, name="pooling")]
