"""The time of a search, and whether a further step fits into it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable

from transferkit._utils.checks import check_int, check_number

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", re.IGNORECASE)


def parse_time_limit(value: float | str | None) -> float:
    """Return seconds; None is infinite.

    >>> parse_time_limit("10m"), parse_time_limit("1h30m"), parse_time_limit(45)
    (600.0, 5400.0, 45.0)
    """
    if value is None:
        return math.inf
    hint = 'Give seconds, or a text such as "10m" or "1h30m".'
    if isinstance(value, str):
        text = value.replace(" ", "")
        found = _DURATION.fullmatch(text)
        if text and found is not None:
            parts = zip(found.groups(), _UNITS.values())
            value = sum(float(number) * seconds for number, seconds in parts if number)
        elif re.fullmatch(r"\d+(\.\d+)?", text):
            value = float(text)
    return check_number("time_limit", value, above=0, hint=hint)


class Budget:
    """Seconds and trials that may be used.

    Args:
        seconds: float > 0, infinite for no limit.
        max_trials: int >= 1, or None for no limit.
        clock: returns seconds.
    """

    def __init__(
        self, seconds: float, max_trials: int | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = seconds
        self.max_trials = None if max_trials is None else check_int("max_trials", max_trials)
        self.trials = 0
        self._clock, self._started = clock, clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started

    @property
    def remaining(self) -> float:
        """Seconds that are left, infinite without a limit."""
        return self.seconds - self.elapsed

    def allows(self, seconds: float) -> bool:
        """Return whether a step of `seconds` fits into the time that is left."""
        return seconds <= self.remaining

    def allows_trial(self) -> bool:
        """Return whether the number of trials allows one more."""
        return self.max_trials is None or self.trials < self.max_trials
