"""What became of the files of a data set: how many images each split and class has, and what was left aside and why."""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["DataReport"]

_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class DataReport:
    """What was read, what was skipped, and what was moved.

    Attributes:
        counts: split name to class name to the number of images.
        skipped: (path, reason) of every file that was left aside.
        moved: (path, reason) of every file that went into another split than its folder said, because a copy of it
            is there.
        duplicates: groups of paths with the very same contents.
    """

    counts: dict[str, dict[str, int]]
    skipped: tuple[tuple[str, str], ...] = ()
    moved: tuple[tuple[str, str], ...] = ()
    duplicates: tuple[tuple[str, ...], ...] = ()

    @property
    def total(self) -> int:
        """Number of images over all splits; with several labels an image, number of labels."""
        return sum(sum(classes.values()) for classes in self.counts.values())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        lines = [
            f"{split}: {sum(classes.values()):,} images ({', '.join(f'{n:,} {name}' for name, n in classes.items())})"
            for split, classes in self.counts.items()
        ]
        lines += _listed("skipped", self.skipped)
        lines += _listed("moved", self.moved)
        if self.duplicates:
            copies = sum(len(group) - 1 for group in self.duplicates)
            lines.append(f"{copies:,} files are exact copies of others; copies are kept on one side of the splits")
        return "\n".join(lines)


def _listed(what: str, rows: tuple[tuple[str, str], ...]) -> list[str]:
    if not rows:
        return []
    shown = [f"  {path!r}: {reason}" for path, reason in rows[:_SHOWN]]
    more = [f"  and {len(rows) - _SHOWN:,} more in report.{what}"] if len(rows) > _SHOWN else []
    return [f"{what}: {len(rows):,}", *shown, *more]
