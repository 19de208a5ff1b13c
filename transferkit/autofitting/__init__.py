"""A search for the best classifier of a data set within a time limit."""

from transferkit.autofitting.fitting import autofit
from transferkit.autofitting.leaderboard import Leaderboard, LeaderboardRow
from transferkit.autofitting.result import AutoFit

__all__ = ["AutoFit", "Leaderboard", "LeaderboardRow", "autofit"]
