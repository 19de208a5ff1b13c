"""The table of all backbones: filter it, sort it, print it."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from typing import Any

from transferkit._utils.checks import check_choice
from transferkit.backbones.spec import BackboneSpec

_COLUMNS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("name", "name", str),
    ("parameters", "parameters", lambda n: f"{n / 1e6:.1f}M"),
    ("size_mb", "MB", lambda n: f"{n:.0f}"),
    ("depth", "depth", str),
    ("top1", "top-1", lambda n: f"{n:.1%}"),
    ("top5", "top-5", lambda n: f"{n:.1%}"),
    ("default_size", "size", str),
    ("min_size", "min", str),
    ("features", "features", str),
    ("preprocessing", "preprocessing", str),
    ("licence", "licence", str),
)
_SORTABLE = ("name", "parameters", "size_mb", "depth", "top1", "top5", "default_size", "min_size", "features")


class Catalogue(list[BackboneSpec]):
    """A list of `BackboneSpec` rows that filters, sorts, prints as a table and shows as HTML in a notebook.

    >>> from transferkit.backbones.table import ROWS
    >>> [row.name for row in Catalogue(ROWS).filter(max_parameters=4e6, min_top1=0.7)]
    ['MobileNetV2']
    """

    def __init__(self, rows: Iterable[BackboneSpec] = ()) -> None:
        super().__init__(rows)

    def filter(
        self,
        where: Callable[[BackboneSpec], bool] | None = None,
        *,
        max_parameters: float | None = None,
        min_top1: float | None = None,
        family: str | None = None,
        preprocessing: str | None = None,
    ) -> Catalogue:
        """Return the rows that meet every condition given; a row without a published figure does not meet one on it.

        Args:
            where: any condition on a row.
            max_parameters: largest number of parameters.
            min_top1: smallest top-1 accuracy, in [0, 1].
            family: as in the rows.
            preprocessing: as in the rows.
        """
        return Catalogue(
            row
            for row in self
            if (where is None or where(row))
            and (max_parameters is None or row.parameters <= max_parameters)
            and (min_top1 is None or (row.top1 is not None and row.top1 >= min_top1))
            and (family is None or row.family == family)
            and (preprocessing is None or row.preprocessing == preprocessing)
        )

    def sorted(self, by: str = "name", *, descending: bool = False) -> Catalogue:
        """Return the rows sorted by a column; rows without its figure come last."""
        check_choice("by", by, _SORTABLE)
        known = [row for row in self if getattr(row, by) is not None]
        known.sort(key=lambda row: getattr(row, by), reverse=descending)
        return Catalogue([*known, *(row for row in self if getattr(row, by) is None)])

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the rows as plain dicts, ready for JSON or a DataFrame."""
        return [row.to_dict() for row in self]

    def _cells(self) -> list[list[str]]:
        body = [
            ["-" if getattr(row, name) is None else show(getattr(row, name)) for name, _, show in _COLUMNS]
            for row in self
        ]
        return [[title for _, title, _ in _COLUMNS], *body]

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(len(row[column]) for row in cells) for column in range(len(_COLUMNS))]
        # Words to the left, figures to the right.
        sides = ["<" if name in ("name", "preprocessing", "licence") else ">" for name, _, _ in _COLUMNS]
        lines = [
            "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths)).rstrip()
            for row in cells
        ]
        return "\n".join(lines)

    def to_markdown(self) -> str:
        """Return the table in Markdown."""
        head, *body = self._cells()
        return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *body])

    def _repr_html_(self) -> str:
        head, *body = self._cells()
        titles = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body)
        return f"<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"
