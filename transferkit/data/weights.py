"""Sample weights: the numbers by which the loss of each image is multiplied."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from transferkit.errors import DataError

_LARGEST = float(np.finfo(np.float32).max)


def parse_weights(values: Iterable[Any], place: Callable[[int], str]) -> tuple[float, ...]:
    """Return weights as floats; `place` names the row of an invalid one.

    Raises:
        DataError: for a weight that is no number, negative, infinite in float32 or missing.
    """
    return tuple(_parse(value, place, row) for row, value in enumerate(values))


def are_weights(values: Any) -> bool:
    """Return whether all values are at least 0 and finite in float32.

    >>> are_weights([0.5, 2]), are_weights([-1]), are_weights(float("nan"))
    (True, False, False)
    """
    array = np.asarray(values, np.float64)
    return bool(((array >= 0) & (array <= _LARGEST)).all())


def _parse(value: Any, place: Callable[[int], str], row: int) -> float:
    try:
        weight = -1.0 if isinstance(value, (bool, np.bool_)) else float(value)
    except (TypeError, ValueError, OverflowError):
        weight = -1.0
    if 0 <= weight <= _LARGEST:
        return weight
    raise DataError(
        f"A weight must be a finite number of at least 0. Received: {reprlib.repr(value)} as {place(row)}. Correct it, "
        "or remove the row."
    )


def check_positive(weights: Mapping[str, np.ndarray | None]) -> None:
    """Raise a DataError for a split whose images all have the weight 0: its loss would be 0 for every model."""
    for split, values in weights.items():
        if values is not None and not values.any():
            raise DataError(
                f"Every split must have an image with a weight above 0. Received: 0 for all {len(values)} images of "
                f"{split!r}. Give it other weights or other images."
            )
