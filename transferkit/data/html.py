"""The report on a data set as a self-contained HTML page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from transferkit.pages import Page, Picture, thumbnails
from transferkit.pages.tables import Cell

# Rows per table, so that the page of a large collection can be opened.
_MAX_ROWS = 100
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
    page = Page(f"{fields['total']:,} images")
    for note in fields["notes"]:
        page.text(note)
    counts = [[split, name, count] for split, classes in fields["counts"].items() for name, count in classes.items()]
    page.heading("Classes").table(["split", "class", "images"], counts)
    for field, (title, grouped, pictured) in _SECTIONS.items():
        rows = fields[field]
        if rows:
            page.heading(f"{title} ({len(rows):,})")
            header = ["images"] if grouped else ["file", "reason"]
            page.table(header, [_cells(row, grouped, pictured) for row in rows[:_MAX_ROWS]])
            if len(rows) > _MAX_ROWS:
                page.text(f"and {len(rows) - _MAX_ROWS:,} more")
    page.write(path)


def _cells(row: Sequence[str], grouped: bool, pictured: bool) -> list[Cell]:
    paths, rest = (list(row), []) if grouped else (list(row[:1]), [row[1]])
    return [thumbnails(paths, paths) if pictured else [Picture("", path) for path in paths], *rest]
