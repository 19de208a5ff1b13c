"""Evaluation of classifiers: metrics and plots."""

from transferkit.evaluation.report import Report
from transferkit.plots import image_grid, learning_curves

__all__ = ["Report", "image_grid", "learning_curves"]
