"""What became of the files of a data set: how many images there are, what was left aside and why, what looks wrong."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

_SHOWN = 5
# Class sizes that differ more than this are worth a word.
_IMBALANCE = 3.0


@dataclasses.dataclass(frozen=True)
class DataReport:
    """What was read, what was skipped, what was moved, and what a person should look at.

    Attributes:
        counts: split name to class name to the number of images.
        skipped: (path, reason) of every file that should have been an image and cannot be read.
        ignored: (path, reason) of every file that was left aside because nothing says that it is an image.
        moved: (path, reason) of every file that went into another split than its folder said, because a copy of it,
            or a member of its group, is there.
        duplicates: groups of paths with the very same contents.
        near_duplicates: groups of paths whose pictures look nearly the same.
        near_duplicate_leaks: those of them that lie in more than one split.
        conflicts: groups of paths with the very same contents and different labels.
        mislabelled: (path, format) of files whose extension names another format than their contents have.
        small: (path, size) of images with a side under 32 pixels.
        sizes: "height", "width" and "bytes" to {"smallest", "median", "largest"}.
        notes: what was found out or done besides, in sentences.
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
    small: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    sizes: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def total(self) -> int:
        """Number of images over all splits; with several labels an image, number of labels."""
        return sum(sum(classes.values()) for classes in self.counts.values())

    @property
    def imbalance(self) -> float:
        """How many times as many images the largest class has as the smallest, over all splits; 1.0 for none."""
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
        """Write the report as a page that stands alone, with thumbnails of the images that it names."""
        from transferkit.data.html import write_html

        write_html(self, path)

    def __str__(self) -> str:
        lines = [_counted(split, classes) for split, classes in self.counts.items()]
        if self.imbalance > _IMBALANCE:
            lines.append(f"imbalance: the largest class has {self.imbalance:.1f} times the images of the smallest")
        if self.sizes:
            height, width = self.sizes["height"], self.sizes["width"]
            lines.append(
                f"sizes: {width['smallest']:g} x {height['smallest']:g} to {width['largest']:g} x {height['largest']:g}"
                f" pixels, median {width['median']:g} x {height['median']:g}"
            )
        lines += self.notes
        for what in ("skipped", "moved", "mislabelled", "small", "ignored"):
            lines += _listed(what, [f"{path!r}: {reason}" for path, reason in getattr(self, what)])
        for what in ("conflicts", "near_duplicate_leaks", "duplicates", "near_duplicates"):
            lines += _listed(what, [_joined(group) for group in getattr(self, what)])
        return "\n".join(lines)


def _counted(split: str, classes: dict[str, int]) -> str:
    listed = ", ".join(f"{count:,} {name or 'in no folder of a class'}" for name, count in list(classes.items())[:20])
    more = f", and {len(classes) - 20} more classes" if len(classes) > 20 else ""
    return f"{split}: {sum(classes.values()):,} images ({listed}{more})"


def _joined(group: tuple[str, ...]) -> str:
    more = f" and {len(group) - _SHOWN:,} more" if len(group) > _SHOWN else ""
    return " = ".join(map(repr, group[:_SHOWN])) + more


def _listed(what: str, rows: list[str]) -> list[str]:
    if not rows:
        return []
    more = [f"  and {len(rows) - _SHOWN:,} more in report.{what}"] if len(rows) > _SHOWN else []
    return [f"{what.replace('_', '-')}: {len(rows):,}", *(f"  {row}" for row in rows[:_SHOWN]), *more]
