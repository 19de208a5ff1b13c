"""From the outputs of a model to probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

ACTIVATIONS = ("sigmoid", "softmax", "linear", None)


def to_probabilities(outputs: Any, activation: str | None, num_classes: int) -> np.ndarray:
    """Return the probabilities (n, num_classes), float32, of a model's outputs (n, units); NaN raises a ValueError.

    >>> to_probabilities(np.array([[0.0]]), "sigmoid", 2)
    array([[0.5, 0.5]], dtype=float32)
    """
    values = check_not_nan(np.asarray(outputs, "float64"))
    if activation == "sigmoid":
        values = np.exp(-np.logaddexp(0.0, -values))
        if values.shape[-1] == 1 and num_classes == 2:
            values = np.concatenate([1.0 - values, values], axis=-1)
    elif activation == "softmax":
        values = np.exp(values - values.max(axis=-1, keepdims=True))
        values /= values.sum(axis=-1, keepdims=True)
    return values.astype("float32")


def check_not_nan(outputs: np.ndarray) -> np.ndarray:
    """Return outputs; a ValueError for NaN, for which the first class would be predicted."""
    if np.isnan(outputs).any():
        raise ValueError("The outputs of a model must not be NaN. Received: NaN. Train it with a lower learning rate.")
    return outputs
