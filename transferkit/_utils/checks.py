"""Argument checks with one error grammar: the requirement, the received value, the remedy."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Iterable
from typing import Any


def check_int(name: str, value: Any, *, minimum: int = 1, hint: str = "") -> int:
    """Return `value` as an int >= `minimum`, or raise a ValueError."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        raise ValueError(_message(f"`{name}` must be an integer of at least {minimum}", value, hint))
    return int(value)


def check_number(
    name: str, value: Any, *, above: float | None = None, minimum: float | None = None, hint: str = ""
) -> float:
    """Return `value` as a finite float > `above` or >= `minimum`, or raise a ValueError."""
    bound = f" above {above:g}" if above is not None else f" of at least {minimum:g}" if minimum is not None else ""
    valid = isinstance(value, numbers.Real) and not isinstance(value, bool)
    valid = valid and value == value and abs(value) != float("inf")
    valid = valid and (above is None or value > above) and (minimum is None or value >= minimum)
    if not valid:
        raise ValueError(_message(f"`{name}` must be a finite number{bound}", value, hint))
    return float(value)


def check_fraction(name: str, value: Any, *, below_one: bool = False, hint: str = "") -> float:
    """Return `value` as a float in [0, 1], or in [0, 1) with `below_one`; else raise a ValueError."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (is_number and 0 <= float(value) <= 1) or (below_one and value == 1):
        if is_number and 2 <= value <= 100:
            hint = hint or f"For {value:g} percent, give {float(value) / 100:g}."
        raise ValueError(_message(f"`{name}` must be in [0, 1{')' if below_one else ']'}", value, hint))
    return float(value)


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """Return `value` if it is one of `choices`; else raise a ValueError that lists them and the closest."""
    choices = list(choices)
    if not any(value is choice or value == choice for choice in choices):
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(_message(f"`{name}` must be one of {listed}", value, did_you_mean(value, choices)))
    return value


def check_image_size(name: str, value: Any) -> tuple[int, int]:
    """Return (height, width) in pixels from an int or a pair of ints."""
    pair = (value, value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else value
    try:
        height, width = pair
        return check_int(name, height), check_int(name, width)
    except (TypeError, ValueError):
        required = f"`{name}` must be (height, width) in pixels, two integers of at least 1"
        raise ValueError(_message(required, value, "")) from None


def did_you_mean(value: Any, names: Iterable[Any], count: int = 3) -> str:
    """Return "Did you mean ...?" with the names closest to `value`, or "" when none is close.

    >>> did_you_mean("bilinar", ["nearest", "bilinear"])
    "Did you mean 'bilinear'?"
    """
    normalized = {str(name).casefold(): str(name) for name in names}
    near = difflib.get_close_matches(str(value).casefold(), normalized, n=count, cutoff=0.6)
    return f"Did you mean {' or '.join(repr(normalized[name]) for name in near)}?" if near else ""


def _message(required: str, received: Any, hint: str) -> str:
    return f"{required}. Received: {received!r}.{' ' + hint if hint else ''}"
