"""A loss for classes in groups: a mistake within a group costs less than one between groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from transferkit._utils.checks import check_fraction
from transferkit.evaluation.class_groups import group_names, membership


@keras.saving.register_keras_serializable(package="transferkit")
class HierarchicalCrossentropy(keras.losses.Loss):
    """The mean of the cross-entropy of the classes and that of their groups, from logits of at least three classes.

    The probability of a group is the sum of those of its classes.

    Args:
        class_names: one str per class, in the order of the logits.
        groups: dict from each class name to the name of its group; or a separator such as "/", before whose last
            occurrence a class name has its group.
        group_weight: float in [0, 1]. Weight of the groups; 0 is the cross-entropy of the classes. Defaults to 0.5.
        name: str. Defaults to "hierarchical_crossentropy".
        **options: other arguments of keras.losses.Loss, such as `reduction`.

    Raises:
        ValueError: if a class has no group, or an argument is out of its range.

    Example:

    >>> loss = HierarchicalCrossentropy(["cat/a", "cat/b", "dog/c"], "/")
    >>> within, between = loss([0], [[0.0, 4.0, 0.0]]), loss([0], [[0.0, 0.0, 4.0]])
    >>> bool(within < between)
    True

    Reference: Bertinetto et al., "Making Better Mistakes: Leveraging Class Hierarchies with Deep Networks", 2020,
    arXiv:1912.09393, compares such losses.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        groups: Mapping[str, str] | str,
        *,
        group_weight: float = 0.5,
        name: str = "hierarchical_crossentropy",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        self.class_names = list(class_names)
        if len(self.class_names) < 3:
            raise ValueError(f"`class_names` must have at least three classes. Received: {self.class_names}. Use None.")
        names = group_names(groups, self.class_names)
        self.groups = dict(zip(self.class_names, names))
        self.group_weight = check_fraction("group_weight", group_weight)
        matrix = membership(names)[1]
        self._group_of, self._members = matrix.argmax(axis=1).astype("int32"), matrix.T.astype(bool)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image: `y_true` are class indices (n,), `y_pred` are logits (n, classes)."""
        labels = keras.ops.reshape(keras.ops.cast(y_true, "int32"), (-1,))
        of_classes = keras.ops.log_softmax(keras.ops.cast(y_pred, "float32"), axis=-1)
        # A sum of logarithms of probabilities that does not underflow, for each group.
        masked = keras.ops.where(self._members[None], of_classes[:, None, :], np.float32(-1e9))
        of_groups = keras.ops.logsumexp(masked, axis=-1)
        losses = [
            -keras.ops.take_along_axis(logarithms, indices[:, None], axis=1)[:, 0]
            for logarithms, indices in (
                (of_classes, labels),
                (of_groups, keras.ops.take(self._group_of, labels)),
            )
        ]
        return (1 - self.group_weight) * losses[0] + self.group_weight * losses[1]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, for `from_config`."""
        own = {"class_names": self.class_names, "groups": self.groups, "group_weight": self.group_weight}
        return {**super().get_config(), **own}
