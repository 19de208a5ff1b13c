"""Data: from files to batches of RGB pixels in [0, 255] and labels."""

from transferkit.data.builder import DatasetBuilder
from transferkit.data.decode import read_image
from transferkit.data.pixels import PixelSpec, load_pixels
from transferkit.data.records import Data, Split
from transferkit.data.report import DataReport

__all__ = ["Data", "DataReport", "DatasetBuilder", "PixelSpec", "Split", "load_pixels", "read_image"]
