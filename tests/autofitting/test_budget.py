"""Time limits as text, and what fits into the time that is left."""

from __future__ import annotations

import math
from typing import Any

import pytest

from transferkit.autofitting.budget import Budget, parse_time_limit


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(90, 90.0), (0.5, 0.5), ("90", 90.0), ("90s", 90.0), ("1.5m", 90.0), ("1h 30m", 5400.0), ("2H", 7200.0)],
)
def test_parse_time_limit(value: Any, seconds: float) -> None:
    assert parse_time_limit(value) == seconds


def test_parse_time_limit_of_none_is_infinite() -> None:
    assert parse_time_limit(None) == math.inf


@pytest.mark.parametrize("value", ["", "ten minutes", "10 minutes", "0s", "m", -1, 0, math.inf, math.nan, [60]])
def test_parse_time_limit_of_anything_else_raises(value: Any) -> None:
    with pytest.raises(ValueError, match="`time_limit` must be a finite number above 0. Received: .* Give seconds"):
        parse_time_limit(value)


def test_budget_allows_what_fits() -> None:
    now = [100.0]
    budget = Budget(10.0, clock=lambda: now[0])
    assert budget.allows(10.0) and not budget.allows(10.1)
    now[0] = 107.0
    assert (budget.elapsed, budget.remaining) == (7.0, 3.0)
    assert budget.allows(3.0) and not budget.allows(3.1)


def test_budget_counts_trials() -> None:
    budget = Budget(math.inf, 1)
    assert budget.allows(1e9) and budget.allows_trial()
    budget.trials = 1
    assert not budget.allows_trial()
    with pytest.raises(ValueError, match="`max_trials` must be an integer of at least 1. Received: 0"):
        Budget(1.0, 0)
