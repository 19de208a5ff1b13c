"""Rows of cells as aligned text, Markdown or HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from transferkit._utils.text import escape_html


class Html(str):
    """A cell that is trusted HTML: `html_table` does not escape it."""


def text_table(rows: Iterable[Sequence[str]], align: str) -> str:
    """Return rows as lines of aligned text; `align` has one character per column, "<" (left) or ">" (right).

    >>> print(text_table([["name", "MB"], ["MobileNetV2", "14"]], "<>"))
    name         MB
    MobileNetV2  14
    """
    cells = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths)).rstrip() for row in cells
    )


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows as a Markdown table.

    >>> print(markdown_table(["name", "MB"], [["MobileNetV2", "14"]]))
    | name | MB |
    | --- | --- |
    | MobileNetV2 | 14 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def html_table(rows: Iterable[Sequence[str]], header: Sequence[str] | None = None) -> str:
    """Return rows as an HTML table. Cells are escaped, except those of class `Html`.

    >>> html_table([["a < b", Html("<b>c</b>")]])
    '<table><tbody><tr><td>a &lt; b</td><td><b>c</b></td></tr></tbody></table>'
    """
    head = f"<thead>{_html_row('th', header)}</thead>" if header else ""
    return f"<table>{head}<tbody>{''.join(_html_row('td', row) for row in rows)}</tbody></table>"


def html_lines(lines: Iterable[str]) -> str:
    """Return lines of text as HTML, or "" without any.

    >>> html_lines(["a < b", "c"])
    '<p>a &lt; b<br>c</p>'
    """
    text = "<br>".join(map(escape_html, lines))
    return f"<p>{text}</p>" if text else ""


def csv_line(cells: Sequence[str]) -> bytes:
    """Return one line of a CSV file in UTF-8; names of files that are not Unicode stay bytes.

    >>> csv_line(["a,b", "c"])
    b'"a,b",c\\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _html_row(tag: str, cells: Sequence[str]) -> str:
    texts = (cell if isinstance(cell, Html) else escape_html(cell) for cell in cells)
    return f"<tr>{''.join(f'<{tag}>{text}</{tag}>' for text in texts)}</tr>"
