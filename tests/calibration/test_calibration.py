"""What a calibration changes, its plain values, and targets that cannot be reached."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from transferkit.calibration import Calibration, CalibrationTargets, fit_calibration

LOGITS = np.log(np.array([[0.2, 0.8], [0.4, 0.6], [0.7, 0.3], [0.9, 0.1]]))
NAMES = ("cat", "dog")


def fit(labels: Any, logits: np.ndarray = LOGITS, names: tuple[str, ...] = NAMES, **targets: Any) -> Calibration:
    return fit_calibration(logits, np.array(labels), names, CalibrationTargets(**targets))


def test_calibration_round_trips_through_json() -> None:
    calibration = Calibration(1.5, (0.25,), 0.75, 0.9, 0.125, 40)
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0},
        {"temperature": float("nan")},
        {"temperature": True},
        {"thresholds": [1.5]},
        {"thresholds": 0.5},
        {"min_confidence": "0.5"},
        {"num_images": 1.5},
        {"more": 1},
    ],
)
def test_calibration_of_damaged_values_raises(change: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Calibration.from_dict({**Calibration(1.5, (0.25,), 0.75, 0.9, 0.125, 40).to_dict(), **change})


def test_predicted_class_by_hand() -> None:
    probabilities = np.array([0.6, 0.4])
    assert Calibration().predicted_class(probabilities) == 0
    assert Calibration(thresholds=(0.4,)).predicted_class(probabilities) == 1
    assert Calibration(thresholds=(0.41,)).predicted_class(probabilities) == 0


def test_label_set_by_hand() -> None:
    probabilities = np.array([0.5, 0.3, 0.2])
    assert Calibration().label_set(probabilities) is None
    assert [Calibration(set_threshold=t).label_set(probabilities) for t in (0.1, 0.3, 0.6)] == [[0, 1, 2], [0, 1], []]


def test_label_set_of_independent_labels_by_hand() -> None:
    assert Calibration(thresholds=(0.4, 0.4)).label_set(np.array([0.5, 0.3])) == [0]


@pytest.mark.parametrize(
    ("thresholds", "classes", "activation", "message"),
    [
        (None, 2, None, "requires a model that returns logits"),
        ((0.5,), 3, "softmax", "Received: 1 for 3 classes with activation 'softmax'"),
        ((0.5, 0.5), 3, "sigmoid", "Received: 2 for 3 classes with activation 'sigmoid'"),
    ],
)
def test_calibration_of_another_classifier_raises(
    thresholds: Any, classes: int, activation: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Calibration(thresholds=thresholds).check_fits(classes, activation)


# So that the image of a threshold reaches it in another engine too.
BELOW = 1e-5


def test_confidence_is_that_of_predictions_with_threshold() -> None:
    # All images are dogs from the lowest probability on, which is right for three of four.
    logits = np.log(np.array([[0.2, 0.8], [0.4, 0.6], [0.7, 0.3], [0.9, 0.1]]))
    calibration = fit([1, 1, 0, 1], logits, recall=1.0, accuracy=1.0)
    assert calibration.thresholds is not None and calibration.min_confidence is not None
    dog = 1 / (1 + np.exp((logits[:, 0] - logits[:, 1]) / calibration.temperature))
    assert calibration.min_confidence == pytest.approx(dog[1] - BELOW)


def test_targets_are_reached_by_hand() -> None:
    # The dogs have the probabilities 0.8 and 0.3, before the temperature, which keeps the order.
    labels = [1, 0, 1, 0]
    temperature = fit(labels).temperature
    scaled = 1 / (1 + np.exp((LOGITS[:, 0] - LOGITS[:, 1]) / temperature))
    assert fit(labels, precision=1.0).thresholds == pytest.approx((scaled[0] - BELOW,))
    assert fit(labels, recall=1.0).thresholds == pytest.approx((scaled[2] - BELOW,))
    # The predictions with 0.9 and 0.8 are right, that with 0.7 is not.
    assert fit(labels, accuracy=1.0).min_confidence == pytest.approx(scaled[0] - BELOW)
    sets = fit(labels, coverage=0.75)
    assert (sets.coverage, sets.num_images) == (0.75, 4)
    # The fourth of four probabilities of the true label, which are falling: ceil(5 * 0.75) = 4.
    assert sets.set_threshold == pytest.approx(min(scaled[0], 1 - scaled[1], scaled[2], 1 - scaled[3]) - BELOW)


def test_independent_labels_have_a_threshold_each() -> None:
    labels = np.array([[1, 1], [0, 1], [0, 0], [1, 0]])
    calibration = fit(labels, recall=1.0)
    assert calibration.thresholds is not None and len(calibration.thresholds) == 2


@pytest.mark.parametrize(
    ("labels", "targets", "message"),
    [
        ([0, 0, 0, 0], {"precision": 0.5}, "`precision` must be reachable.*Received: 0.5 for 'dog'.*0 images"),
        ([0, 0, 0, 0], {"recall": 0.5}, "`recall` must be reachable"),
        ([0, 1, 1, 1], {"accuracy": 0.9}, "`accuracy` must be reachable.*Received: 0.9"),
        ([0, 1, 1, 1], {"coverage": 0.95}, "`coverage` must be possible.*Received: 0.95 with 4 images; it needs 19"),
        ([0, 1, 1, 1], {"coverage": 1.0}, "`coverage` must be below 1"),
        ([0, 1, 1, 1], {"accuracy": 0.0}, "`accuracy` must be in"),
        ([0, 1, 1, 1], {"precision": 0.5, "recall": 0.5}, "must not both be given"),
        ([[0, 1]] * 4, {"accuracy": 0.9}, "`accuracy` requires one label per image"),
        ([[0, 1]] * 4, {"coverage": 0.5}, "`coverage` requires one label per image"),
    ],
)
def test_target_that_cannot_be_reached_raises(labels: Any, targets: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(labels, **targets)


def test_precision_of_several_classes_raises() -> None:
    logits = np.random.default_rng(0).normal(size=(6, 3))
    with pytest.raises(ValueError, match="`precision` requires two classes.*Received: 3 classes"):
        fit([0, 1, 2, 0, 1, 2], logits, ("a", "b", "c"), precision=0.9)
