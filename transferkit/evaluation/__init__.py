"""Evaluation of classifiers: metrics, reports and comparisons."""

from transferkit.evaluation.regression_report import RegressionReport
from transferkit.evaluation.report import Report
from transferkit.evaluation.run_comparison import compare_reports

__all__ = ["RegressionReport", "Report", "compare_reports"]
