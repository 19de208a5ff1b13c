"""Data: from files, tables, arrays and datasets to splits, batches and a report."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Public name -> the module that defines it. Indexing and splitting files needs no TensorFlow, so nothing imports it here.
_PUBLIC = {
    "Data": "examples",
    "DataReport": "report",
    "DatasetBuilder": "builder",
    "Split": "examples",
    "scan": "scanning",
    "write_tfrecord": "tfrecord",
}

__all__ = ["Data", "DataReport", "DatasetBuilder", "Split", "scan", "write_tfrecord"]

if TYPE_CHECKING:
    from transferkit.data.builder import DatasetBuilder
    from transferkit.data.examples import Data, Split
    from transferkit.data.report import DataReport
    from transferkit.data.scanning import scan
    from transferkit.data.tfrecord import write_tfrecord


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value
