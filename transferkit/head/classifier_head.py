"""The classification head: pooling, hidden layers, dropout and layers that return logits."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any

import keras

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_choice, check_fraction, check_int, check_number
from transferkit.head.few_shot import COMPUTED, cosine_layers, neighbor_logits, prototype_layers
from transferkit.head.ordinal import MIN_CLASSES, ordinal_logits, threshold_layer
from transferkit.head.pooling import POOLINGS, pooling_layers

KINDS = ("linear", "mlp", "prototype", "cosine", "knn", "ordinal")
# These have operations after or between their layers.
_WITH_OPERATIONS = ("knn", "ordinal")
_DEFAULT_HIDDEN = (128,)
# The kinds that use an option; the others refuse it.
_USERS = {
    "hidden": ("mlp", "ordinal"),
    "l2": ("linear", "mlp", "cosine", "ordinal"),
    "dropout": ("linear", "mlp", "cosine", "ordinal"),
    "scale": ("prototype", "cosine", "knn"),
    "neighbors": ("knn",),
    "max_images": ("knn",),
}


@suggests_arguments
@dataclasses.dataclass(frozen=True)
class ClassifierHead:
    """A validated description of a classification head; calling it on features creates the layers.

    The head outputs logits, not probabilities: one logit with threshold 0.0 for two classes, else one logit per class.
    With `multi_label`, each class has an independent logit.

    Args:
        num_classes: int >= 2, or >= 1 with `multi_label`. Number of classes.
        kind: how features become logits. "linear"; "mlp", with hidden layers; "cosine", weights of length 1 on features
            of length 1, trained like "linear"; "ordinal", for at least three classes in the order of `class_names` of
            the data, such as grades: the logits are logarithms of probabilities; or, computed by `Trainer.fit` without
            training steps: "prototype", the cosines to the mean features of each class, and "knn", the classes of the
            most similar training images, whose features are part of the weights. Defaults to None: "mlp" with `hidden`,
            else "linear".
        pooling: "avg", "max" (global pooling) or "flatten": how a feature map (height, width, channels), or tokens
            (tokens, channels), become a vector. Vectors are left unchanged. Defaults to "avg".
        dropout: float in [0, 1). Fraction of the features dropped in training steps. Defaults to 0.2.
        hidden: sequence of ints >= 1. Units of ReLU layers before the logits. Defaults to (), none; (128,) for "mlp".
        l2: float >= 0. L2 regularization factor of the kernels, added to the loss. Defaults to 0.
        multi_label: bool. Whether an image can have any number of labels. Defaults to False.
        seed: int >= 0. Seed of dropout and of the initial weights of hidden layers. Defaults to 0.
        scale: float > 0. Factor of the cosines of "prototype", "cosine" and "knn". Defaults to None: trained for
            "cosine", else the one with the smallest loss when each training image is left out in turn.
        neighbors: int >= 1. Number of training images that vote, for "knn". Defaults to 5.
        max_images: int >= 1. Largest number of training images, for "knn". Defaults to 1000.

    Raises:
        ValueError: if an argument is out of its range, or the kind of head does not use it.
        TypeError: if `num_classes` or `hidden` has another type.

    Example:

    >>> import keras
    >>> head = ClassifierHead(2, dropout=0.2)
    >>> head(keras.Input((5, 5, 1280))).shape
    (None, 1)
    """

    num_classes: int
    _: dataclasses.KW_ONLY
    kind: str | None = None
    pooling: str = "avg"
    dropout: float = 0.2
    hidden: Sequence[int] = ()
    l2: float = 0.0
    multi_label: bool = False
    seed: int = 0
    scale: float | None = None
    neighbors: int = 5
    max_images: int = 1000

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
        if self.scale is not None:
            check_number("scale", self.scale, above=0)
        check_int("max_images", self.max_images, minimum=check_int("neighbors", self.neighbors))
        self._resolve_kind()

    def _resolve_kind(self) -> None:
        # The class is frozen for its users.
        if self.kind is None:
            object.__setattr__(self, "kind", "mlp" if self.hidden else "linear")
        kind = check_choice("kind", self.kind, KINDS)
        for field in dataclasses.fields(self):
            value, users = getattr(self, field.name), _USERS.get(field.name, KINDS)
            if kind not in users and value != field.default and value:
                listed = " or ".join(repr(user) for user in users)
                raise ValueError(
                    f"`{field.name}` is for kind={listed}. Received: {field.name}={value!r} with kind={kind!r}. "
                    "Omit it."
                )
        if kind in COMPUTED and self.multi_label:
            raise ValueError(
                f"kind={kind!r} requires one label per image. Received: multi_label=True. Use kind='linear'."
            )
        if kind == "ordinal":
            if self.multi_label:
                raise ValueError(
                    "kind='ordinal' requires one label per image. Received: multi_label=True. Use kind='linear'."
                )
            hint = "For two classes use kind='linear', which is the same."
            check_int("num_classes", self.num_classes, minimum=MIN_CLASSES, hint=hint)
        if kind == "mlp" and not self.hidden:
            object.__setattr__(self, "hidden", _DEFAULT_HIDDEN)

    @property
    def units(self) -> int:
        """Number of logits: 1 for two classes, else one per class."""
        return 1 if self.num_classes == 2 and not self.multi_label else self.num_classes

    def layers(self, rank: int = 4) -> list[keras.layers.Layer]:
        """Return new Keras layers, in order.

        Args:
            rank: int in [2, 4]. Number of dimensions of the features, the batch included. Defaults to 4.

        Raises:
            ValueError: if `rank` is larger than 4, or for kind="knn" or "ordinal", which have operations too.
        """
        if self.kind in _WITH_OPERATIONS:
            raise ValueError(
                f"`layers` requires a head that is a list of layers. Received: kind={self.kind!r}. Call the head on "
                "features."
            )
        return [*self._layers_before_logits(rank), *self._logit_layers()]

    def __call__(self, features: Any) -> Any:
        """Return the logits (batch, units) of features (batch, channels), (batch, tokens, channels) or feature maps."""
        rank = len(features.shape)
        for layer in self._layers_before_logits(rank) if self.kind in _WITH_OPERATIONS else self.layers(rank):
            features = layer(features)
        if self.kind == "ordinal":
            above = threshold_layer(self.num_classes, **self._regularizer())(features)
            return ordinal_logits(above, self.num_classes)
        if self.kind == "knn":
            return neighbor_logits(features, self.num_classes, self.neighbors, self.max_images, self.scale)
        return features

    def _layers_before_logits(self, rank: int) -> list[keras.layers.Layer]:
        layers = pooling_layers(self.pooling, rank)
        for index, units in enumerate(self.hidden, 1):
            initializer = keras.initializers.HeNormal(seed=self.seed + index)
            options = {"kernel_initializer": initializer, **self._regularizer()}
            layers.append(keras.layers.Dense(units, "relu", name=f"hidden_{index}", **options))
        if self.dropout and self.kind not in COMPUTED:
            layers.append(keras.layers.Dropout(self.dropout, seed=self.seed, name="dropout"))
        return layers

    def _logit_layers(self) -> list[keras.layers.Layer]:
        if self.kind == "prototype":
            return prototype_layers(self.units, self.scale)
        if self.kind == "cosine":
            return cosine_layers(self.units, self.scale, self.l2)
        # Zero weights make all classes equally probable at the start, for every seed. Logits stay float32 under mixed
        # precision, because 16 bits are too coarse for the loss.
        options = {"kernel_initializer": "zeros", "dtype": "float32", **self._regularizer()}
        return [keras.layers.Dense(self.units, name="logits", **options)]

    def _regularizer(self) -> dict[str, Any]:
        return {"kernel_regularizer": keras.regularizers.L2(self.l2) if self.l2 else None}
