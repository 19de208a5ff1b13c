"""How the columns of a table of images are read."""

from __future__ import annotations

import dataclasses
from typing import Any

from transferkit._utils.checks import did_you_mean
from transferkit.errors import DataError


@dataclasses.dataclass(frozen=True)
class TableOptions:
    """Options of a `DatasetBuilder` for tables.

    Attributes:
        label_separator: between several labels in a cell, or None.
        weight_column: name of the column of sample weights, or None.
        label_column: name of the column of labels, or None for one of the usual names.
        numbers: whether the labels are numbers.
    """

    label_separator: str | None = None
    weight_column: str | None = None
    label_column: str | None = None
    numbers: bool = False

    def for_tables_only(self, name: str) -> dict[str, Any]:
        """Return the options that sources other than tables do not support, for the argument `name`."""
        # Images given separately for validation and test need no weights.
        weights = self.weight_column if name == "source" else None
        return {
            "label_separator": self.label_separator,
            "weight_column": weights,
            "label_column": self.label_column,
        }


def check_column(option: str, name: Any, example: str) -> str | None:
    """Return the name of a column, or None; raise a ValueError for anything else."""
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise ValueError(
            f"`{option}` must be the name of a column, or None. Received: {name!r}. Give, for example, {example!r}."
        )
    return name


def missing_column(option: str, name: str, table: str, header: Any) -> DataError:
    """Return the error for a table without the column of an option."""
    hint = did_you_mean(name, header) or "Name one of them."
    return DataError(
        f"`source` must have the column of `{option}`, {name!r}. Received: {table} with the columns "
        f"{list(header)[:20]}. {hint}"
    )
