"""An inspection as a self-contained HTML page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from transferkit.pages import MapPoints, Page, Picture, project, thumbnails
from transferkit.pages.tables import Cell

# Rows per table, and points of the map, so that the page of a large collection can be opened.
_MAX_ROWS, _MAX_POINTS = 200, 2000


def write_page(inspection: Any, path: str | os.PathLike[str], projection: str) -> None:
    """Write the page of an `Inspection`."""
    page = Page(f"Inspection of {len(inspection.images):,} images")
    _add_label_issues(page, inspection)
    _add_near_duplicates(page, inspection)
    _add_outliers(page, inspection)
    _add_image_issues(page, inspection)
    rows: list[list[Cell]] = [
        [*pair.classes, pair.images, (pair.fraction, f"{pair.fraction:.1%}")]
        for pair in inspection.class_overlap[:_MAX_ROWS]
    ]
    _add(page, "Overlapping classes", ["class", "class", "images", "fraction"], rows, len(inspection.class_overlap))
    _add_map(page, inspection, projection)
    page.write(path)


def _add(page: Page, title: str, header: Sequence[str], rows: list[list[Cell]], total: int) -> None:
    if not total:
        return
    page.heading(f"{title} ({total:,})").table(header, rows)
    if total > len(rows):
        page.text(f"and {total - len(rows):,} more")


def _pictures(inspection: Any, keys: Sequence[Any]) -> list[Picture]:
    images = [inspection.images.source(key) for key in keys]
    return thumbnails(images, [str(key) for key in keys]) if images else []


def _add_label_issues(page: Page, inspection: Any) -> None:
    issues = inspection.label_issues[:_MAX_ROWS]
    pictures = _pictures(inspection, [issue.image for issue in issues])
    rows: list[list[Cell]] = [
        [picture, one.label, one.suggested_label, one.score, "yes" if one.is_confident else "no", one.image.split]
        for picture, one in zip(pictures, issues)
    ]
    header = ["image", "label", "suggested label", "score", "confident", "split"]
    _add(page, "Label issues", header, rows, len(inspection.label_issues))


def _add_near_duplicates(page: Page, inspection: Any) -> None:
    pairs = inspection.near_duplicates[:_MAX_ROWS]
    first, second = (_pictures(inspection, [getattr(one, name) for one in pairs]) for name in ("first", "second"))
    rows: list[list[Cell]] = [
        [*pictures, one.similarity, " / ".join(dict.fromkeys(one.labels)), _splits_of(one)]
        for *pictures, one in zip(first, second, pairs)
    ]
    header = ["image", "image", "similarity", "labels", "splits"]
    _add(page, "Near duplicates", header, rows, len(inspection.near_duplicates))


def _splits_of(pair: Any) -> str:
    return " / ".join(dict.fromkeys((pair.first.split, pair.second.split)))


def _add_outliers(page: Page, inspection: Any) -> None:
    outliers = inspection.outliers[:_MAX_ROWS]
    pictures = _pictures(inspection, [one.image for one in outliers])
    rows: list[list[Cell]] = [
        [picture, one.label, one.distance, one.score, one.image.split] for picture, one in zip(pictures, outliers)
    ]
    _add(page, "Outliers", ["image", "label", "distance", "score", "split"], rows, len(inspection.outliers))


def _add_image_issues(page: Page, inspection: Any) -> None:
    issues = inspection.image_issues[:_MAX_ROWS]
    pictures = _pictures(inspection, [one.image for one in issues])
    rows: list[list[Cell]] = [
        [picture, one.issue, (one.value, f"{one.value:.4g}"), one.score, one.label, one.image.split]
        for picture, one in zip(pictures, issues)
    ]
    header = ["image", "issue", "value", "score", "label", "split"]
    _add(page, "Image issues", header, rows, len(inspection.image_issues))


def _add_map(page: Page, inspection: Any, projection: str) -> None:
    images = inspection.images
    if len(images) < 3:
        return
    chosen = np.unique(np.linspace(0, len(images) - 1, min(len(images), _MAX_POINTS)).astype(int)).tolist()
    keys, labels = [images.key(index) for index in chosen], [images.label(index) for index in chosen]
    suspicious = {issue.image for issue in inspection.label_issues}
    groups = {
        "label": labels,
        "label issue": ["yes" if key in suspicious else "no" for key in keys],
        "split": [key.split for key in keys],
    }
    pictures = [picture.uri for picture in thumbnails([images.source(key) for key in keys], side=64)]
    texts = [f"{key}: {label}" for key, label in zip(keys, labels)]
    positions = project(images.features[chosen], projection)
    page.heading("Map of the images").text(f"Features of the backbone in two dimensions ({projection}):")
    page.map(MapPoints(positions, texts, pictures, groups))
