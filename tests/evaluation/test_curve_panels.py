"""Which curves a figure of a report shows."""

from __future__ import annotations

import numpy as np

from transferkit.evaluation.curve_panels import curve_panels
from transferkit.evaluation.outcomes import Outcomes, predict_labels


def outcomes_of(labels: np.ndarray, probabilities: np.ndarray) -> Outcomes:
    return Outcomes(labels, probabilities, predict_labels(probabilities, False))


def test_curve_panels_of_two_classes_have_one_curve() -> None:
    panels = curve_panels(outcomes_of(np.array([0, 1]), np.eye(2)), ["cat", "_dog"])
    assert [labels[1:] for labels in panels] == [("False positive rate", "True positive rate"), ("Recall", "Precision")]
    assert [[name for name, _, _ in curves] for curves in panels.values()] == [["1.000 _dog"], ["1.000 _dog"]]


def test_curve_panels_leave_out_undefined_curves() -> None:
    panels = curve_panels(outcomes_of(np.array([1, 1]), np.eye(2)), ["cat", "dog"])
    assert [len(curves) for curves in panels.values()] == [0, 1]


def test_curve_panels_of_many_classes_have_the_worst() -> None:
    labels = np.arange(24) % 12
    probabilities = np.eye(12)[labels]
    # One of two images of the class is missed.
    probabilities[11] = np.eye(12)[0]
    panels = curve_panels(outcomes_of(labels, probabilities), [f"class {number}" for number in range(12)])
    assert all(len(curves) == 10 and curves[0][0].endswith(" class 11") for curves in panels.values())
