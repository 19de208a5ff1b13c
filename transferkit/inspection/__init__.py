"""Inspection of data: label errors, near duplicates, outliers, overlapping classes and poor images."""

from transferkit.inspection.inspection import Inspection, inspect

__all__ = ["Inspection", "inspect"]
