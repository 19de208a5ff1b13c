"""The predictions for several images: a list that can be written as a table."""

from __future__ import annotations

import os
from typing import Any

from transferkit._utils.dataframes import to_data_frame
from transferkit._utils.files import atomic_write
from transferkit._utils.tables import html_table, text_table
from transferkit._utils.text import printable, shorten
from transferkit.prediction.rows import csv_row


class Predictions(list[Any]):
    """A list of `Prediction`, or of `NumberPrediction`; prints as a table and displays as HTML in a notebook.

    Example:

    >>> tk.load("classifier").predict("new_images/").to_csv("predictions.csv")  # doctest: +SKIP
    """

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame with one row per image.

        Its columns are "path", "label", "probability", "p(<class>)" for each class, and "error"; after calibration also
        "is_certain", "label_set" and "in_distribution". Those of numbers are "path", "value", "low", "high" and
        "error".

        Raises:
            MissingExtraError: if pandas is not installed: `pip install "transferkit[tables]"`.
        """
        rows = [prediction._row() for prediction in self]
        names = self._columns()
        return to_data_frame({name: [row.get(name) for row in rows] for name in names}, "Predictions.to_dataframe")

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table of `to_dataframe` as CSV, in UTF-8.

        Args:
            path: the file, which is replaced if it exists.
        """
        names = self._columns()
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            file.write(csv_row(names))
            for prediction in self:
                row = prediction._row()
                file.write(csv_row([row.get(name) for name in names]))

    def _columns(self) -> list[str]:
        if not self:
            return ["path", "label", "probability", "error"]
        return list(self[0]._columns())

    def _cells(self) -> list[list[str]]:
        rows = []
        for index, one in enumerate(self):
            name = printable(one.path) if one.path is not None else f"image {index}"
            rows.append([name, *map(printable, one._cells().values())])
        return rows

    def _header(self) -> list[str]:
        return ["image", *(self[0]._cells() if self else ())]

    def __repr__(self) -> str:
        header = self._header()
        return shorten(text_table([header, *self._cells()], "<<".ljust(len(header), ">"))) if self else "[]"

    def _repr_html_(self) -> str:
        return html_table(self._cells(), self._header())
