"""Evaluation of classifiers: metrics and plots."""

from transferkit.evaluation.report import Report
from transferkit.evaluation.run_comparison import compare_reports
from transferkit.plots import image_grid, learning_curves

__all__ = ["Report", "compare_reports", "image_grid", "learning_curves"]
