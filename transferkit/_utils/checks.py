"""Checks of arguments, with one grammar: what must hold, what was received, what to do."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Iterable
from typing import Any


def check_int(name: str, value: Any, *, minimum: int = 1, hint: str = "") -> int:
    """Return `value` as an int of at least `minimum`, or raise a ValueError that says so."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        raise ValueError(_message(f"`{name}` must be an integer of at least {minimum}", value, hint))
    return int(value)


def check_number(
    name: str, value: Any, *, above: float | None = None, minimum: float | None = None, hint: str = ""
) -> float:
    """Return `value` as a finite float above `above`, or of at least `minimum`."""
    bound = f" above {above:g}" if above is not None else f" of at least {minimum:g}" if minimum is not None else ""
    good = isinstance(value, numbers.Real) and not isinstance(value, bool)
    good = good and value == value and abs(value) != float("inf")
    good = good and (above is None or value > above) and (minimum is None or value >= minimum)
    if not good:
        raise ValueError(_message(f"`{name}` must be a finite number{bound}", value, hint))
    return float(value)


def check_fraction(name: str, value: Any, *, below_one: bool = False, hint: str = "") -> float:
    """Return `value` as a float in [0, 1], or in [0, 1) with `below_one`."""
    good = isinstance(value, numbers.Real) and not isinstance(value, bool) and 0 <= float(value) <= 1
    if not good or (below_one and value == 1):
        raise ValueError(_message(f"`{name}` must be in [0, 1{')' if below_one else ']'}", value, hint))
    return float(value)


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """Return `value` if it is one of `choices`; else name them all, and the closest."""
    choices = list(choices)
    if not any(value is choice or value == choice for choice in choices):
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(_message(f"`{name}` must be one of {listed}", value, did_you_mean(value, choices)))
    return value


def check_image_size(name: str, value: Any) -> tuple[int, int]:
    """Return (height, width) from an int or a pair of ints, in pixels."""
    pair = (value, value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else value
    try:
        height, width = pair
        return check_int(name, height), check_int(name, width)
    except (TypeError, ValueError):
        raise ValueError(
            _message(f"`{name}` must be (height, width) in pixels, two integers of at least 1", value, "")
        ) from None


def did_you_mean(value: Any, names: Iterable[Any], count: int = 3) -> str:
    """Return "Did you mean ...?" for the names nearest to `value`, or "" when none is near.

    >>> closest("bilinar", ["nearest", "bilinear"])
    "Did you mean 'bilinear'?"
    """
    folded = {str(name).casefold(): str(name) for name in names}
    near = difflib.get_close_matches(str(value).casefold(), folded, n=count, cutoff=0.6)
    return f"Did you mean {' or '.join(repr(folded[name]) for name in near)}?" if near else ""


def _message(must: str, received: Any, hint: str) -> str:
    return f"{must}. Received: {received!r}.{' ' + hint if hint else ''}"
