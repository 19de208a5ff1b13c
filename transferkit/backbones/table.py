"""The rows of the catalogue, read from catalogue.csv."""

from __future__ import annotations

import csv
from importlib import resources
from typing import Any

from transferkit.backbones.spec import BackboneSpec

_NUMBERS: dict[str, type] = {
    **dict.fromkeys(("parameters", "features", "depth", "default_size", "min_size"), int),
    **dict.fromkeys(("top1", "top5", "size_mb"), float),
}


def read_csv(name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file of this package as dicts."""
    with resources.files("transferkit.backbones").joinpath(name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _spec(row: dict[str, str]) -> BackboneSpec:
    values: dict[str, Any] = {key: _NUMBERS.get(key, str)(text) if text else None for key, text in row.items()}
    return BackboneSpec(**values)


ROWS: tuple[BackboneSpec, ...] = tuple(map(_spec, read_csv("catalogue.csv")))
