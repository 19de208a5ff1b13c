"""Exported models: a classifier in the formats of other runtimes, verified there."""

from transferkit.exporting.export_model import export
from transferkit.exporting.report import ExportReport

__all__ = ["ExportReport", "export"]
