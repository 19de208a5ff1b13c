"""The report on a data set as a self-contained HTML page."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from transferkit._utils.files import atomic_write
from transferkit._utils.tables import Html, html_table
from transferkit._utils.text import printable
from transferkit.errors import ImageError
from transferkit.images.loading import load_image
from transferkit.images.spec import ImageSpec

# Rows per table, so that the page of a large collection can be opened.
_MAX_ROWS = 100
_THUMBNAIL_SPEC = ImageSpec((96, 96), resize="pad")
_STYLE = (
    "body{font:15px sans-serif;margin:2em;max-width:70em}table{border-collapse:collapse}td,th{padding:.3em .8em;"
    "border-bottom:1px solid #ddd;text-align:left;vertical-align:middle;word-break:break-all}img{max-width:96px}"
)
# Field of the report -> (title, whether its rows are groups of paths, whether thumbnails are shown).
_SECTIONS = {
    "skipped": ("Skipped", False, False),
    "reassigned": ("Moved to another split", False, True),
    "label_conflicts": ("Duplicates with different labels", True, True),
    "near_duplicate_leaks": ("Near-duplicates across splits", True, True),
    "duplicates": ("Exact duplicates", True, True),
    "near_duplicates": ("Near-duplicates", True, True),
    "extension_mismatches": ("Extension does not match contents", False, True),
    "tiny_images": ("Tiny images", False, True),
    "ignored": ("Ignored files", False, False),
}


def write_report(fields: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a report, given as `DataReport.to_dict()`, to `path` with embedded thumbnails."""
    counts = [
        [split, name, f"{count:,}"] for split, classes in fields["counts"].items() for name, count in classes.items()
    ]
    parts = [
        f"<h1>{fields['total']:,} images</h1>",
        *(f"<p>{html.escape(printable(note))}</p>" for note in fields["notes"]),
    ]
    parts.append(html_table(counts, ["split", "class", "images"]))
    for field, (title, grouped, pictured) in _SECTIONS.items():
        rows = fields[field]
        if rows:
            parts.append(f"<h2>{title} ({len(rows):,})</h2>")
            parts.append(html_table([_cells(row, grouped, pictured) for row in rows[:_MAX_ROWS]]))
            if len(rows) > _MAX_ROWS:
                parts.append(f"<p>and {len(rows) - _MAX_ROWS:,} more</p>")
    page = "<!doctype html><html lang=en><meta charset=utf-8><title>Images</title>"
    with atomic_write(path) as temporary:
        # Names that are not Unicode are shown with replacement marks.
        text = f"{page}<style>{_STYLE}</style>{''.join(parts)}</html>"
        temporary.write_text(text, encoding="utf-8", errors="replace")


def _cells(row: Sequence[str], grouped: bool, pictured: bool) -> list[str]:
    paths, rest = (row, []) if grouped else (row[:1], [row[1]])
    return [
        *(
            Html((_thumbnail(path) if pictured else "") + f"<div>{html.escape(printable(path))}</div>")
            for path in paths
        ),
        *rest,
    ]


def _thumbnail(path: str) -> str:
    try:
        pixels = load_image(path, _THUMBNAIL_SPEC)
    except ImageError:
        return ""
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=70)
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}">'
