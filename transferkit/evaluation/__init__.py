"""Evaluation: what a classifier got right and wrong, as numbers and as pictures."""

from transferkit.evaluation.plots import image_grid, learning_curves
from transferkit.evaluation.report import Report

__all__ = ["Report", "image_grid", "learning_curves"]
