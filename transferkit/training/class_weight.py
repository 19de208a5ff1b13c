"""Weights of classes in the loss, given by name, by index or as "balanced"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from transferkit._utils.checks import did_you_mean
from transferkit.data.dataset import Data
from transferkit.data.numbers import require_classes

ClassWeight = Mapping[Any, float] | str | None


def resolve_class_weight(class_weight: Any, data: Data) -> dict[int, float] | None:
    """Return class index -> weight for Keras; classes that are not given have the weight 1.

    "balanced" gives each class the same total weight, n / (classes * images of the class), as in scikit-learn.

    Raises:
        ValueError: for unknown classes, weights that are not finite numbers of at least 0, or multi-label data.
    """
    if class_weight is None:
        return None
    require_classes(data, "`class_weight`")
    if data.multi_label:
        # Keras would weight an image by one of its labels only.
        raise ValueError(
            f"`class_weight` requires one label per image. Received: {class_weight!r} with multi-label data. Omit it."
        )
    if data.splits["train"].has_weights:
        raise ValueError(
            f"`class_weight` requires images without sample weights. Received: {class_weight!r} and sample weights. "
            "Multiply the weights of the images by those of their classes, and omit it."
        )
    if isinstance(class_weight, str) and class_weight == "balanced":
        return _balanced(data)
    if not isinstance(class_weight, Mapping) or not class_weight:
        raise ValueError(
            "`class_weight` must be 'balanced' or a dict from class name or index to weight. Received: "
            f"{class_weight!r}. Give, for example, class_weight={{{data.class_names[0]!r}: 2.0}}."
        )
    weights = {_index(key, data.class_names): _weight(key, value) for key, value in class_weight.items()}
    if len(weights) < len(class_weight):
        raise ValueError(
            f"`class_weight` must give each class once. Received: {class_weight!r}. Use names or indices, not both."
        )
    # Keras looks weights up in a table that ends at the last class that it is given.
    return {index: weights.get(index, 1.0) for index in range(data.num_classes)}


def _balanced(data: Data) -> dict[int, float]:
    labels = data.splits["train"].labels
    if len(labels) == 0:
        raise ValueError(
            "`class_weight='balanced'` requires labels that are known in advance. Received: a tf.data.Dataset. Give a "
            "dict from class name to weight."
        )
    counts = np.bincount(labels, minlength=data.num_classes)
    return {
        index: len(labels) / (data.num_classes * int(count)) if count else 1.0 for index, count in enumerate(counts)
    }


def _index(key: Any, names: tuple[str, ...] | list[str]) -> int:
    if isinstance(key, str) and key in names:
        return list(names).index(key)
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool) and 0 <= key < len(names):
        return int(key)
    listed = ", ".join(map(repr, list(names)[:10]))
    hint = did_you_mean(key, names) or f"The classes are {listed}."
    raise ValueError(
        f"The keys of `class_weight` must be class names, or indices from 0 to {len(names) - 1}. Received: {key!r}. "
        f"{hint}"
    )


def _weight(key: Any, value: Any) -> float:
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    raise ValueError(
        f"The weights of `class_weight` must be finite numbers of at least 0. Received: {value!r} for {key!r}. "
        "Give a number, such as 1.0."
    )
