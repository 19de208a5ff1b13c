"""The report on a data set: counts, skipped files and why, duplicates, leaks and suspicious files."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from transferkit._utils.tables import html_lines, html_table
from transferkit._utils.text import printable, shorten
from transferkit.data import html

_MAX_ROWS, _MAX_CLASSES = 5, 20
# Ratio of class sizes from which imbalance is reported.
_IMBALANCE = 3.0


@dataclasses.dataclass(frozen=True, repr=False)
class DataReport:
    """Which images were read, skipped or moved, and which deserve a look; `print` it.

    Attributes:
        counts: split name -> class name -> number of images.
        skipped: (path, reason) of every file that should be an image but cannot be read.
        ignored: (path, reason) of every file without any sign of being an image.
        reassigned: (path, reason) of every file moved to another split, because a duplicate of it, or a member of its
            group, is there.
        duplicates: groups of paths with equal contents.
        near_duplicates: groups of paths with similar images.
        near_duplicate_leaks: groups of near-duplicates in more than one split.
        label_conflicts: groups of paths with equal contents and different labels.
        extension_mismatches: (path, format) of files whose extension names another format than their contents have.
        tiny_images: (path, size) of images with a side under 32 pixels.
        sizes: "height", "width" and "bytes" -> {"smallest", "median", "largest"}.
        notes: how the source was interpreted.

    Example:

    >>> report = DataReport({"train": {"cats": 3, "dogs": 4}})
    >>> report.counts["train"]["dogs"], report.skipped
    (4, [])
    """

    counts: dict[str, dict[str, int]]
    skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    ignored: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    reassigned: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    duplicates: list[tuple[str, ...]] = dataclasses.field(default_factory=list)
    near_duplicates: list[tuple[str, ...]] = dataclasses.field(default_factory=list)
    near_duplicate_leaks: list[tuple[str, ...]] = dataclasses.field(default_factory=list)
    label_conflicts: list[tuple[str, ...]] = dataclasses.field(default_factory=list)
    extension_mismatches: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    tiny_images: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    sizes: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def total(self) -> int:
        """Number of images over all splits; of labels where an image can have several."""
        return sum(sum(classes.values()) for classes in self.counts.values())

    @property
    def imbalance(self) -> float:
        """Size of the largest class over that of the smallest, over all splits; 1.0 without images."""
        sums: dict[str, int] = {}
        for classes in self.counts.values():
            for name, count in classes.items():
                sums[name] = sums.get(name, 0) + count
        filled = [count for count in sums.values() if count]
        return max(filled) / min(filled) if filled else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {**dataclasses.asdict(self), "total": self.total, "imbalance": self.imbalance}

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write the report to `path` as a self-contained page with thumbnails."""
        html.write_report(self.to_dict(), path)

    def __str__(self) -> str:
        return "\n".join([*(_format_counts(split, classes) for split, classes in self.counts.items()), *self._notes()])

    def __repr__(self) -> str:
        return shorten(str(self))

    def _repr_html_(self) -> str:
        names = list(dict.fromkeys(name for classes in self.counts.values() for name in classes))
        shown = names[:_MAX_CLASSES]
        header = ["split", "images", *(name or "not in a class folder" for name in shown)]
        header += [f"{len(names) - _MAX_CLASSES:,} more classes"] if len(names) > _MAX_CLASSES else []
        rows = [
            [split, f"{sum(classes.values()):,}", *(f"{classes.get(name, 0):,}" for name in shown)]
            + ([f"{sum(classes.get(name, 0) for name in names[_MAX_CLASSES:]):,}"] if len(names) > _MAX_CLASSES else [])
            for split, classes in self.counts.items()
        ]
        return (html_table(rows, header) if rows else "") + html_lines(shorten("\n".join(self._notes())).splitlines())

    def _notes(self) -> list[str]:
        lines = []
        if self.imbalance > _IMBALANCE:
            lines.append(f"imbalance: the largest class has {self.imbalance:.1f} times the images of the smallest")
        if self.sizes:
            height, width = self.sizes["height"], self.sizes["width"]
            lines.append(
                f"sizes: {width['smallest']:g} x {height['smallest']:g} to {width['largest']:g} x {height['largest']:g}"
                f" pixels, median {width['median']:g} x {height['median']:g}"
            )
        lines += map(printable, self.notes)
        for field in ("skipped", "reassigned", "extension_mismatches", "tiny_images", "ignored"):
            lines += _format_rows(field, [f"{path!r}: {reason}" for path, reason in getattr(self, field)])
        for field in ("label_conflicts", "near_duplicate_leaks", "duplicates", "near_duplicates"):
            lines += _format_rows(field, [_format_group(group) for group in getattr(self, field)])
        return lines


def _format_counts(split: str, classes: dict[str, int]) -> str:
    shown = list(classes.items())[:_MAX_CLASSES]
    listed = ", ".join(f"{count:,} {printable(name or 'not in a class folder')}" for name, count in shown)
    more = f", and {len(classes) - _MAX_CLASSES} more classes" if len(classes) > _MAX_CLASSES else ""
    return f"{split}: {sum(classes.values()):,} images ({listed}{more})"


def _format_group(group: tuple[str, ...]) -> str:
    more = f" and {len(group) - _MAX_ROWS:,} more" if len(group) > _MAX_ROWS else ""
    return " = ".join(map(repr, group[:_MAX_ROWS])) + more


def _format_rows(field: str, rows: list[str]) -> list[str]:
    if not rows:
        return []
    more = [f"  and {len(rows) - _MAX_ROWS:,} more in report.{field}"] if len(rows) > _MAX_ROWS else []
    return [f"{field.replace('_', ' ')}: {len(rows):,}", *(f"  {row}" for row in rows[:_MAX_ROWS]), *more]
