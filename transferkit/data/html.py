"""A report as a page that stands alone."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from PIL import Image

from transferkit._utils.files import atomic_write
from transferkit.errors import ImageError

if TYPE_CHECKING:
    from transferkit.data.report import DataReport

# Rows of a table, so that the page of a large collection can still be opened.
_ROWS = 100
_SIDE = 96
_STYLE = (
    "body{font:15px sans-serif;margin:2em;max-width:70em}table{border-collapse:collapse}td,th{padding:.3em .8em;"
    "border-bottom:1px solid #ddd;text-align:left;vertical-align:middle;word-break:break-all}img{max-width:96px}"
)
_TITLES = {
    "skipped": "Skipped",
    "moved": "Moved to another split",
    "conflicts": "Copies with different labels",
    "near_duplicate_leaks": "Nearly the same in different splits",
    "duplicates": "Exact copies",
    "near_duplicates": "Nearly the same",
    "mislabelled": "Extension and contents differ",
    "small": "Very small",
    "ignored": "Not taken for images",
}


def write_html(report: DataReport, path: str | os.PathLike[str]) -> None:
    """Write `report` to `path`, with thumbnails inside the page; the file appears when it is whole."""
    parts = [f"<h1>{report.total:,} images</h1>", *(f"<p>{html.escape(note)}</p>" for note in report.notes)]
    parts.append(_table(["split", "class", "images"], _count_rows(report)))
    for field, title in _TITLES.items():
        rows = getattr(report, field)
        if rows:
            parts.append(f"<h2>{title} ({len(rows):,})</h2>")
            pictured = field not in ("skipped", "ignored")
            parts.append(_table([], (_row(row, field, pictured) for row in rows[:_ROWS])))
            if len(rows) > _ROWS:
                parts.append(f"<p>and {len(rows) - _ROWS:,} more</p>")
    page = "<!doctype html><html lang=en><meta charset=utf-8><title>Images</title>"
    with atomic_write(path) as temporary:
        # A name that is no Unicode is shown with marks in its place.
        text = f"{page}<style>{_STYLE}</style>{''.join(parts)}</html>"
        temporary.write_text(text, encoding="utf-8", errors="replace")


def _count_rows(report: DataReport) -> Iterable[list[str]]:
    for split, classes in report.counts.items():
        for name, count in classes.items():
            yield [html.escape(split), html.escape(name), f"{count:,}"]


def _row(row: tuple[str, ...], field: str, pictured: bool) -> list[str]:
    grouped = field in ("conflicts", "near_duplicate_leaks", "duplicates", "near_duplicates")
    paths = row if grouped else row[:1]
    cells = [(_thumbnail(path) if pictured else "") + f"<div>{html.escape(path)}</div>" for path in paths]
    return cells if grouped else [*cells, html.escape(row[1])]


def _thumbnail(path: str) -> str:
    from transferkit.images.loading import ImageSpec, load_image

    try:
        pixels = load_image(path, ImageSpec((_SIDE, _SIDE), resize="pad"))
    except ImageError:
        return ""
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=70)
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(packed.getvalue()).decode()}">'


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    top = "<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>" if head else ""
    return f"<table>{top}{''.join('<tr>' + ''.join(f'<td>{c}</td>' for c in row) + '</tr>' for row in rows)}</table>"
