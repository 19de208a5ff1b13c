"""An inspection as a CSV table with one row per image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transferkit._utils.tables import csv_line

_COLUMNS = ["path", "label", "given_label", "suggested_label", "score", "split", "issues"]


def table_lines(inspection: Any) -> Iterator[bytes]:
    """Yield the header and one line per image; names that are not Unicode stay bytes."""
    issues = _issues_by_image(inspection)
    confident = {issue.image: issue.suggested_label for issue in inspection.label_issues if issue.is_confident}
    images, scores = inspection.images, inspection.label_scores
    yield csv_line(_COLUMNS)
    for index, key in enumerate(images.keys):
        label, suggested = images.label(index), images.class_names[int(scores.suggested[index])]
        score = f"{scores.suspicion[index]:.4f}"
        name = key.path if key.path is not None else str(key)
        found = ", ".join(issues.get(key, []))
        yield csv_line([name, confident.get(key, label), label, suggested, score, key.split, found])


def _issues_by_image(inspection: Any) -> dict[Any, list[str]]:
    issues: dict[Any, list[str]] = {}
    for issue in inspection.label_issues:
        issues.setdefault(issue.image, []).append("label")
    for pair in inspection.near_duplicates:
        issues.setdefault(pair.second, []).append(f"near duplicate of {pair.first}")
    for outlier in inspection.outliers:
        issues.setdefault(outlier.image, []).append("outlier")
    for issue in inspection.image_issues:
        issues.setdefault(issue.image, []).append(issue.issue)
    return issues
