"""Data: from files to batches of RGB pixels in [0, 255] and labels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Public name -> the module that defines it. Listing and dividing files needs no TensorFlow, so nothing imports it here.
_PUBLIC = {
    "Data": "records",
    "DataReport": "report",
    "DatasetBuilder": "builder",
    "PixelSpec": "spec",
    "Split": "records",
    "content_keys": "pixels",
    "load_pixels": "pixels",
    "pixel_dataset": "pixels",
    "read_image": "decode",
    "scan": "scanning",
    "write_records": "tfrecord",
}

__all__ = [
    "Data",
    "DataReport",
    "DatasetBuilder",
    "PixelSpec",
    "Split",
    "content_keys",
    "load_pixels",
    "pixel_dataset",
    "read_image",
    "scan",
    "write_records",
]

if TYPE_CHECKING:
    from transferkit.data.builder import DatasetBuilder
    from transferkit.data.decode import read_image
    from transferkit.data.pixels import content_keys, load_pixels, pixel_dataset
    from transferkit.data.records import Data, Split
    from transferkit.data.report import DataReport
    from transferkit.data.scanning import scan
    from transferkit.data.spec import PixelSpec
    from transferkit.data.tfrecord import write_records


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value
