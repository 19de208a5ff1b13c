"""Calibration of probabilities on validation images: temperature, thresholds, prediction sets, intervals of numbers."""

from transferkit.calibration.calibration import Calibration
from transferkit.calibration.fitting import CalibrationTargets, fit_calibration, fit_interval

__all__ = ["Calibration", "CalibrationTargets", "fit_calibration", "fit_interval"]
