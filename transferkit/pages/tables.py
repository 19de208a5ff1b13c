"""Tables and images of a page as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from transferkit._utils.text import escape_html
from transferkit.pages.pictures import Picture

# A number, or a number with the text that shows it.
Cell = str | int | float | tuple[float, str] | Picture | list[Picture]
# A filter above a table of fewer rows is in the way.
_MIN_FILTERED_ROWS = 8


def table_html(identifier: str, header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Return a table that the script of the page sorts and filters; `identifier` is unique on the page."""
    numeric = [all(isinstance(cell, (int, float, tuple)) for cell in column) for column in zip(*rows)]
    numeric += [False] * (len(header) - len(numeric))
    headings = "".join(
        f'<th{_number_class(is_number)}><button type="button">{escape_html(name)}</button></th>'
        for name, is_number in zip(header, numeric)
    )
    body = "".join(f"<tr>{''.join(map(_cell_html, row))}</tr>" for row in rows)
    table = f'<table class="sortable" id="{identifier}"><thead><tr>{headings}</tr></thead><tbody>{body}</tbody></table>'
    if len(rows) < _MIN_FILTERED_ROWS:
        return table
    return (
        f'<div><input class="filter" type="search" data-table="{identifier}" placeholder="Filter rows" '
        f'aria-label="Filter rows"></div>{table}'
    )


def picture_html(picture: Picture) -> str:
    """Return an image with its caption; the lines of a caption stay lines."""
    image = f'<img alt="" src="{escape_html(picture.uri)}">' if picture.uri else ""
    caption = "<br>".join(escape_html(line) for line in picture.caption.split("\n"))
    return f"<figure>{image}{f'<figcaption>{caption}</figcaption>' if caption else ''}</figure>"


def _cell_html(cell: Cell) -> str:
    if isinstance(cell, Picture):
        return f"<td>{picture_html(cell)}</td>"
    if isinstance(cell, list):
        return f"<td>{''.join(map(picture_html, cell))}</td>"
    if isinstance(cell, str):
        return f"<td>{escape_html(cell)}</td>"
    number, text = cell if isinstance(cell, tuple) else (cell, f"{cell:,}" if isinstance(cell, int) else f"{cell:.4f}")
    return f'<td class="number" data-value="{float(number)!r}">{escape_html(text)}</td>'


def _number_class(is_number: bool) -> str:
    return ' class="number"' if is_number else ""
