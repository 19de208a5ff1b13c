"""A scatter plot of images as SVG: one point per image, which is shown under the pointer."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transferkit._utils.text import escape_html, printable

_WIDTH, _HEIGHT, _MARGIN = 800, 500, 12
# The qualitative palettes of matplotlib, without its grays.
_COLORS = (
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf"),
    *("#aec7e8", "#ffbb78", "#98df8a", "#ff9896", "#c5b0d5", "#c49c94", "#f7b6d2", "#dbdb8d", "#9edae5"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class MapPoints:
    """The points of a map.

    Attributes:
        positions: float (n, 2).
        texts: one str per point.
        images: one data URI per point, or "".
        groups: name of a coloring, such as "label", to the group of each point.
    """

    positions: np.ndarray
    texts: Sequence[str]
    images: Sequence[str]
    groups: Mapping[str, Sequence[str]]


def map_html(points: MapPoints) -> str:
    """Return the scatter plot with a choice of its colorings."""
    circles = "".join(
        f'<circle data-index="{index}" cx="{x:.1f}" cy="{y:.1f}" r="4" fill-opacity=".75"></circle>'
        for index, (x, y) in enumerate(_pixel_positions(points.positions))
    )
    options = "".join(f"<option>{escape_html(name)}</option>" for name in points.groups)
    return (
        f'<div class="map"><p><label>Color by <select>{options}</select></label></p>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img">{circles}</svg>'
        f'<p class="legend"></p><div class="tip"></div>'
        f'<script type="application/json">{_data_json(points)}</script></div>'
    )


def _pixel_positions(positions: np.ndarray) -> np.ndarray:
    low, high = positions.min(axis=0), positions.max(axis=0)
    fractions = (positions - low) / np.maximum(high - low, 1e-12)
    sides = np.array([_WIDTH, _HEIGHT]) - 2 * _MARGIN
    # The vertical axis of an SVG points down.
    return _MARGIN + np.stack([fractions[:, 0], 1 - fractions[:, 1]], axis=1) * sides


def _data_json(points: MapPoints) -> str:
    entries = [{"text": printable(text), "image": uri} for text, uri in zip(points.texts, points.images)]
    data = {"points": entries, "colorings": [_coloring(groups) for groups in points.groups.values()]}
    # A "<" could end the script element.
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _coloring(groups: Sequence[str]) -> dict[str, Any]:
    names = sorted(set(groups))
    index_of = {name: index for index, name in enumerate(names)}
    colors = [_COLORS[index % len(_COLORS)] for index in range(len(names))]
    return {"names": list(map(printable, names)), "colors": colors, "groups": [index_of[group] for group in groups]}
