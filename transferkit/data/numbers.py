"""Numbers as labels: parsing, and intervals by which images are stratified."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from transferkit.errors import DataError

TARGETS = ("class", "number")
_LARGEST = float(np.finfo(np.float32).max)
# Few images per interval leave none for a small split.
_MAX_STRATA, _IMAGES_PER_STRATUM = 10, 10


def require_classes(data: Any, what: str) -> None:
    """Raise a DataError for data, or a predictor, with numbers as labels; `what` names what does not support them."""
    if getattr(data, "target", "class") == "number":
        raise DataError(
            f"{what} requires class labels. Received: numbers as labels. Build the data without "
            "target='number', and the model with a ClassifierHead."
        )


def parse_numbers(values: Iterable[Any], place: Callable[[int], str]) -> tuple[str, ...]:
    """Return numbers as texts of float32, for an index; `place` names the row of an invalid one.

    Raises:
        DataError: for a label that is no number, not finite in float32 or missing.

    >>> parse_numbers(["1", 2.5], str)
    ('1.0', '2.5')
    """
    return tuple(_parse(value, place, row) for row, value in enumerate(values))


def number_strata(labels: Sequence[str]) -> list[str]:
    """Return for each number one of up to ten intervals with about equally many images.

    >>> number_strata([str(number) for number in range(20)])[8:12]
    ['0', '0', '1', '1']
    """
    values = np.array(labels, np.float64)
    count = max(1, min(_MAX_STRATA, len(values) // _IMAGES_PER_STRATUM))
    if not len(values):
        return []
    bounds = np.quantile(values, np.arange(1, count) / count)
    return [str(position) for position in np.searchsorted(bounds, values, side="right")]


def check_number_options(options: Mapping[str, Any], *, is_dataset: bool) -> None:
    """Raise a ValueError for an option of classes, a DataError for a tf.data.Dataset."""
    for name in ("class_names", "label_separator", "balance"):
        if options[name] is not None:
            raise ValueError(
                f"`{name}` requires class labels. Received: {name}={options[name]!r} with target='number'. Remove it."
            )
    if is_dataset:
        raise DataError(
            "`source` must be a table, lists or arrays for target='number'. Received: a tf.data.Dataset. Write paths "
            "and numbers to a CSV file."
        )


def check_numbers_differ(labels: np.ndarray) -> None:
    """Raise a DataError when all training labels are equal: there is nothing to be learned."""
    if len(labels) and (labels == labels[0]).all():
        raise DataError(
            f"The numbers of the training images must differ. Received: {labels[0]:g} for all {len(labels)} images. "
            "Give other labels or more images."
        )


def _parse(value: Any, place: Callable[[int], str], row: int) -> str:
    try:
        number = np.nan if isinstance(value, (bool, np.bool_)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = np.nan
    if abs(number) <= _LARGEST:
        return str(float(np.float32(number)))
    raise DataError(
        f"A label must be a finite number for target='number'. Received: {reprlib.repr(value)} as {place(row)}. "
        "Correct it, or remove the row."
    )
