"""Data: from files, tables, arrays and datasets to splits, batches and a report."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transferkit._utils.lazy import lazy_getattr

__all__ = ["Data", "DataReport", "DatasetBuilder", "Split", "scan", "write_tfrecord"]

# Imported when they are used: indexing and splitting files needs no TensorFlow.
__getattr__: Callable[[str], Any] = lazy_getattr(
    __name__,
    {
        "Data": "dataset",
        "DataReport": "report",
        "DatasetBuilder": "builder",
        "Split": "examples",
        "scan": "scanning",
        "write_tfrecord": "tfrecord_writer",
    },
)

if TYPE_CHECKING:
    from transferkit.data.builder import DatasetBuilder
    from transferkit.data.dataset import Data
    from transferkit.data.examples import Split
    from transferkit.data.report import DataReport
    from transferkit.data.scanning import scan
    from transferkit.data.tfrecord_writer import write_tfrecord
