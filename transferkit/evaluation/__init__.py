"""Evaluation of classifiers: metrics, reports and comparisons."""

from transferkit.evaluation.report import Report
from transferkit.evaluation.run_comparison import compare_reports

__all__ = ["Report", "compare_reports"]
