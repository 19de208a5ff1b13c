"""Calibration of probabilities on validation images: temperature, thresholds, prediction sets."""

from transferkit.calibration.calibration import Calibration
from transferkit.calibration.fitting import CalibrationTargets, fit_calibration

__all__ = ["Calibration", "CalibrationTargets", "fit_calibration"]
