"""Calibration of probabilities on validation images: temperature, thresholds, prediction sets, intervals of numbers."""

from transferkit.calibration.calibration import Calibration
from transferkit.calibration.fitting import DEFAULT_COVERAGE, CalibrationTargets, fit_calibration, fit_interval

__all__ = ["DEFAULT_COVERAGE", "Calibration", "CalibrationTargets", "fit_calibration", "fit_interval"]
