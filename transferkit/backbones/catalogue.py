"""The table of backbones, with filters and sorting."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from transferkit._utils.checks import check_choice
from transferkit._utils.tables import html_table, markdown_table, text_table
from transferkit.backbones.spec import BackboneSpec

# Attribute, title, alignment and format of each column.
_COLUMNS: tuple[tuple[str, str, str, Callable[[Any], str]], ...] = (
    ("name", "name", "<", str),
    ("parameters", "parameters", ">", lambda n: f"{n / 1e6:.1f}M"),
    ("size_mb", "MB", ">", lambda n: f"{n:.0f}"),
    ("depth", "depth", ">", str),
    ("top1", "top-1", ">", lambda n: f"{n:.1%}"),
    ("top5", "top-5", ">", lambda n: f"{n:.1%}"),
    ("default_size", "size", ">", str),
    ("min_size", "min", ">", str),
    ("features", "features", ">", str),
    ("preprocessing", "preprocessing", "<", str),
    ("license", "license", "<", str),
)
_HEADER = [title for _, title, _, _ in _COLUMNS]


class Catalogue(list[BackboneSpec]):
    """A list of `BackboneSpec` rows that filters, sorts, prints as a table and displays as HTML in a notebook.

    Example:

    >>> from transferkit.backbones.table import ROWS
    >>> [row.name for row in Catalogue(ROWS).filter(max_parameters=4e6, min_top1=0.7)]
    ['MobileNetV2']
    """

    def filter(
        self,
        where: Callable[[BackboneSpec], bool] | None = None,
        *,
        max_parameters: float | None = None,
        min_top1: float | None = None,
        family: str | None = None,
        preprocessing: str | None = None,
    ) -> Catalogue:
        """Return the rows that meet all given conditions. A row without a published value does not meet its condition.

        Args:
            where: a function from a row to a bool. Defaults to None.
            max_parameters: float, the largest number of parameters. Defaults to None.
            min_top1: float in [0, 1], the smallest top-1 accuracy. Defaults to None.
            family: str, for example "ResNet". Defaults to None.
            preprocessing: "none", "tf", "torch", "caffe" or "lite". Defaults to None.
        """
        rows = filter(where, self) if where is not None else self
        return Catalogue(
            row
            for row in rows
            if (max_parameters is None or row.parameters <= max_parameters)
            and (min_top1 is None or (row.top1 is not None and row.top1 >= min_top1))
            and family in (None, row.family)
            and preprocessing in (None, row.preprocessing)
        )

    def sorted(self, by: str = "name", *, descending: bool = False) -> Catalogue:
        """Return the rows sorted by a column, those without a value last.

        Args:
            by: str, an attribute of `BackboneSpec`, for example "top1" or "parameters". Defaults to "name".
            descending: bool. Defaults to False.

        Raises:
            ValueError: if there is no such column.
        """
        check_choice("by", by, [field.name for field in dataclasses.fields(BackboneSpec)])
        known = [row for row in self if getattr(row, by) is not None]
        known.sort(key=lambda row: getattr(row, by), reverse=descending)
        return Catalogue([*known, *(row for row in self if getattr(row, by) is None)])

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the rows as dicts of plain values, for JSON or a DataFrame."""
        return [row.to_dict() for row in self]

    def to_markdown(self) -> str:
        """Return the table in Markdown."""
        return markdown_table(_HEADER, self._cells())

    def _cells(self) -> list[list[str]]:
        return [
            ["-" if getattr(row, name) is None else formatted(getattr(row, name)) for name, _, _, formatted in _COLUMNS]
            for row in self
        ]

    def __str__(self) -> str:
        return text_table([_HEADER, *self._cells()], "".join(align for _, _, align, _ in _COLUMNS))

    def __repr__(self) -> str:
        names = [row.name for row in self[:3]] + ["..."] * (len(self) > 3)
        return f"Catalogue of {len(self)} backbones: {', '.join(names)}"

    def _repr_html_(self) -> str:
        return html_table(self._cells(), _HEADER)
