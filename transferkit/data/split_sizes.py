"""Checks the sizes of splits: fractions and numbers of images."""

from __future__ import annotations

import numbers
import os
import re
from typing import Any

_NUMBER = re.compile(r"\s*\d*\.?\d+\s*%?\s*")


def check_size(name: str, value: Any, otherwise: str) -> Any:
    """Return the size of a split, a fraction in (0, 1) or a number of images. Other values are returned unchanged.

    Raises:
        ValueError: for a number out of range, or the text of a number.
    """
    if isinstance(value, str) and _NUMBER.fullmatch(value) and not os.path.exists(value):
        number = float(value.rstrip(" %")) / (100 if "%" in value else 1)
        raise ValueError(
            f"`{name}` must be a number, not text, {otherwise}. Received: {value!r}. Write {name}={number:g}."
        )
    if not isinstance(value, numbers.Real):
        return value
    size, is_count = float(value), isinstance(value, numbers.Integral)
    if isinstance(value, bool) or not (0 < size < 1 or (is_count and size >= 1)):
        raise ValueError(
            f"`{name}` must be a fraction in (0, 1), a number of images of at least 1, {otherwise}. "
            f"Received: {value!r}."
        )
    return int(size) if is_count else size


def check_sizes_leave_images(validation: Any, test: Any) -> None:
    """Raise a ValueError when the fractions of a validation and a test split leave no training images."""
    fractions = [size for size in (test, validation) if isinstance(size, (int, float)) and size < 1]
    if validation is not None and sum(fractions) > 1 - 1e-6:
        raise ValueError(
            "`validation` and `test` must leave images for training, with fractions whose sum is below 1. "
            f"Received: validation={validation!r} and test={test!r}. Give smaller fractions."
        )
