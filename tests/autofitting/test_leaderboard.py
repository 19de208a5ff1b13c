"""The table of candidates, and the choice for each goal."""

from __future__ import annotations

import dataclasses
import math

import pytest

from transferkit.autofitting.candidates import Candidate, Criterion
from transferkit.autofitting.leaderboard import Leaderboard, LeaderboardRow

ACCURATE = LeaderboardRow("accurate", 0.95, 0.93, 0.97, 400, 9.0, 40.0, 5.0, is_best=True)
FAST = LeaderboardRow("fast", 0.945, 0.925, 0.965, 400, 2.0, 30.0, 4.0)
SMALL = LeaderboardRow("small", 0.942, 0.92, 0.96, 400, 5.0, 3.0, 3.0)
POOR = LeaderboardRow("poor", 0.80, 0.78, 0.82, 400, 1.0, 1.0, 2.0)
SLOW = LeaderboardRow("slow", 0.94, 0.92, 0.96, 400, 10.0, 41.0, 2.0)
FAILED = LeaderboardRow("failed", seconds=1.0, error="no <weights>")


def test_pareto_leaves_out_what_another_exceeds_in_everything() -> None:
    board = Leaderboard([ACCURATE, FAST, SMALL, SLOW, POOR, FAILED])
    assert [row.name for row in board.pareto()] == ["poor", "fast", "small", "accurate"]


def test_table() -> None:
    board = Leaderboard([ACCURATE, FAILED])
    lines = str(board).splitlines()
    assert lines[1].split() == ["best", "accurate", "0.9500", "0.9300", "to", "0.9700", "400", "9.00", "40.0", "5.0"]
    assert "failed: no <weights>" in lines[2] and "failed: no &lt;weights&gt;" in board._repr_html_()
    assert board.to_dicts()[0] == dataclasses.asdict(ACCURATE) and math.isnan(board.to_dicts()[1]["value"])


@pytest.mark.parametrize(("goal", "expected"), [("accuracy", "accurate"), ("latency", "fast"), ("size", "small")])
def test_choice_for_a_goal_is_within_a_standard_error(goal: str, expected: str) -> None:
    # The standard error is 0.04 / 3.92 = 0.0102, so that 0.80 is too low.
    candidates = [Candidate(row, 0.1, {0: 1.0}) for row in (POOR, SLOW, SMALL, FAST, ACCURATE)]
    assert Criterion("accuracy", goal, ("a", "b"), 0).choose(candidates).row.name == expected


def test_choice_between_equal_values_is_a_single_head_with_the_smallest_loss() -> None:
    rows = [dataclasses.replace(ACCURATE, name=name) for name in ("ensemble", "first", "second")]
    members = [{0: 0.5, 1: 0.5}, {0: 1.0}, {1: 1.0}]
    candidates = [Candidate(*values) for values in zip(rows, (0.05, 0.2, 0.1), members)]
    assert Criterion("accuracy", "accuracy", ("a", "b"), 0).choose(candidates).row.name == "second"
