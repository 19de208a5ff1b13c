"""Compares the features of a converted model with those of the original one."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from transferkit.errors import WeightsError


def relative_difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference of features, divided by the largest expected one."""
    return float(np.abs(actual - expected).max() / max(np.abs(expected).max(), np.finfo(np.float32).tiny))


def read_array(name: str, value: Any) -> np.ndarray:
    """Return an array, or that of a .npy file, which is read without pickle.

    Raises:
        ValueError: if it is not an array of numbers.
    """
    array = np.load(value, allow_pickle=False) if isinstance(value, (str, os.PathLike)) else np.asarray(value)
    if array.dtype.kind not in "fiu" or not array.size:
        raise ValueError(f"`{name}` must be an array of numbers. Received: {array.dtype} of shape {array.shape}.")
    return array.astype(np.float32)


def match_layout(expected: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return expected features in the layout of Keras: PyTorch has the channels before height and width.

    Raises:
        ValueError: if the shapes do not match in any layout.
    """
    if expected.shape != shape and expected.ndim == 4 and len(shape) == 4:
        transposed = expected.transpose(0, 2, 3, 1)
        if transposed.shape == shape:
            return transposed
    if expected.shape != shape:
        raise ValueError(
            f"`expected` must be features of the shape {shape}, or with the channels before height and width. "
            f"Received: shape {expected.shape}. Save the output of `forward_features` of the original model."
        )
    return expected


def check_difference(difference: float, tolerance: float, name: str) -> None:
    """Raise a WeightsError for a difference above the tolerance."""
    if not difference <= tolerance:
        raise WeightsError(
            f"The features of {name!r} must be those of the original model within {tolerance:g} of the largest. "
            f"Received: a difference of {difference:.2g}. Check the preprocessing, the size of the images and the file."
        )
