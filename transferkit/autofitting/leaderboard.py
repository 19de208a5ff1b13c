"""The candidates of a search, the best first, as a table."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from transferkit._utils.tables import html_table, text_table

_HEADER = ["", "candidate", "value", "95 % interval", "images", "ms/image", "MB", "seconds"]


@dataclasses.dataclass(frozen=True)
class LeaderboardRow:
    """One candidate of `autofit`; NaN where there is an error.

    Attributes:
        name: str, backbone and head.
        value: float, the metric on the images that choices are based on, each predicted by a head that was trained
            without it.
        low: float, lower bound of the 95 % interval of the metric.
        high: float, upper bound.
        num_images: int, number of these images.
        ms_per_image: float, milliseconds per image for many images, without the decoding of files.
        size_mb: float, size of the float32 weights in megabytes.
        seconds: float, seconds that the search spent on it.
        error: str, why it could not be tried, or None.
        is_best: bool, whether it was chosen.
    """

    name: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    num_images: int = 0
    ms_per_image: float = math.nan
    size_mb: float = math.nan
    seconds: float = 0.0
    error: str | None = None
    is_best: bool = False


class Leaderboard(list[LeaderboardRow]):
    """A list of `LeaderboardRow`, the largest value first; prints as a table and displays as HTML in a notebook.

    Example:

    >>> rows = Leaderboard([LeaderboardRow("A", 0.9, ms_per_image=5.0, size_mb=14.0)])
    >>> rows += [LeaderboardRow("B", 0.8, ms_per_image=1.0, size_mb=9.0), LeaderboardRow("C", 0.7, 0, 0, 5, 6.0, 20.0)]
    >>> [row.name for row in rows.pareto()]
    ['B', 'A']
    """

    def pareto(self) -> list[LeaderboardRow]:
        """Return the candidates that no other exceeds in value, speed and size together, the fastest first."""
        rows = [row for row in self if row.error is None]
        front = [row for row in rows if not any(_dominates(other, row) for other in rows)]
        return sorted(front, key=lambda row: (row.ms_per_image, -row.value))

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the rows as dicts of plain values, for JSON or a DataFrame."""
        return [dataclasses.asdict(row) for row in self]

    def _cells(self) -> list[list[str]]:
        return [_cells_of(row) for row in self]

    def __str__(self) -> str:
        return text_table([_HEADER, *self._cells()], "<<>>>>>>")

    def __repr__(self) -> str:
        return f"Leaderboard({len(self)} candidates)"

    def _repr_html_(self) -> str:
        return html_table(self._cells(), _HEADER)


def _dominates(other: LeaderboardRow, row: LeaderboardRow) -> bool:
    first = (other.value, -other.ms_per_image, -other.size_mb)
    second = (row.value, -row.ms_per_image, -row.size_mb)
    return first != second and all(one >= two for one, two in zip(first, second))


def _cells_of(row: LeaderboardRow) -> list[str]:
    if row.error is not None:
        return ["", row.name, f"failed: {row.error}", *[""] * (len(_HEADER) - 4), f"{row.seconds:.1f}"]
    interval = f"{row.low:.4f} to {row.high:.4f}"
    sizes = [f"{row.ms_per_image:.2f}", f"{row.size_mb:.1f}", f"{row.seconds:.1f}"]
    return ["best" if row.is_best else "", row.name, f"{row.value:.4f}", interval, str(row.num_images), *sizes]
