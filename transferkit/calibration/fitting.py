"""Fits a calibration to the logits and labels of validation images."""

from __future__ import annotations

import dataclasses

import numpy as np

from transferkit._utils.checks import check_fraction
from transferkit.calibration.calibration import Calibration
from transferkit.calibration.conformal import conformal_half_width, conformal_threshold, fewest_images
from transferkit.calibration.temperature import shrunk_temperature, sigmoid, softmax
from transferkit.calibration.thresholds import (
    confidence_threshold,
    precision_threshold,
    recall_threshold,
    selective_accuracy,
)

# Largest difference of probabilities between Keras and the engines and exported models in float32, by measurement.
_MAX_DIFFERENCE = 1e-5
# Of the intervals of numbers.
DEFAULT_COVERAGE = 0.9


@dataclasses.dataclass(frozen=True)
class CalibrationTargets:
    """Goals on the validation images; None for those that are not requested.

    Attributes:
        precision: of the second of two classes, or of each independent label.
        recall: likewise.
        accuracy: of predictions that are not uncertain.
        coverage: of label sets.
        in_distribution: fraction of the images that resemble the training images.
    """

    precision: float | None = None
    recall: float | None = None
    accuracy: float | None = None
    coverage: float | None = None
    in_distribution: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not check_fraction(name, value) > 0:
                raise ValueError(f"`{name}` must be in (0, 1]. Received: {value!r}.")
        if self.coverage == 1:
            raise ValueError("`coverage` must be below 1. Received: 1. Sets of all classes have the coverage 1.")
        if self.precision is not None and self.recall is not None:
            raise ValueError(
                f"`precision` and `recall` must not both be given. Received: {self.precision} and {self.recall}. Give "
                "the one that matters; the other follows from it."
            )


def fit_calibration(
    logits: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...], targets: CalibrationTargets
) -> Calibration:
    """Return the calibration of logits and labels of images that were not trained on.

    Args:
        logits: float (n, units).
        labels: int (n,), or 0/1 (n, units) for independent labels.
        class_names: tuple of str, in the order of the columns.
        targets: `CalibrationTargets`, what else is fitted.

    Returns:
        The `Calibration`.

    Raises:
        ValueError: when a target cannot be reached on these images.
    """
    temperature = shrunk_temperature(logits, labels)
    is_multi_label = labels.ndim == 2
    probabilities = _probabilities(np.asarray(logits, np.float64) / temperature, is_multi_label)
    thresholds = _thresholds(probabilities, labels, class_names, targets)
    min_confidence = None
    if targets.accuracy is not None:
        min_confidence = _min_confidence(probabilities, labels, thresholds, targets.accuracy)
    set_threshold = None
    if targets.coverage is not None:
        set_threshold = _set_threshold(probabilities, labels, targets.coverage)
    lowered = None if thresholds is None else tuple(_below(value) for value in thresholds)
    minima = (None if value is None else _below(value) for value in (min_confidence, set_threshold))
    min_confidence, set_threshold = minima
    return Calibration(temperature, lowered, min_confidence, targets.coverage, set_threshold, len(labels))


def fit_interval(predictions: np.ndarray, labels: np.ndarray, targets: CalibrationTargets) -> Calibration:
    """Return the calibration of predicted numbers (n,) of images that were not trained on.

    Args:
        predictions: float (n,), the predicted numbers.
        labels: float (n,), the true ones.
        targets: `CalibrationTargets`, of which `coverage` is used; 0.9 where it is None.

    Returns:
        The `Calibration`, with `half_width`.

    Raises:
        ValueError: for targets of classes, or too few images for the coverage.

    Example:

    >>> fit_interval(np.arange(9.0), np.arange(9.0) + 2, CalibrationTargets()).half_width
    2.0
    """
    for name in ("precision", "recall", "accuracy"):
        if getattr(targets, name) is not None:
            raise ValueError(
                f"`{name}` requires class labels. Received: {getattr(targets, name)} for numbers. Give `coverage`."
            )
    coverage = DEFAULT_COVERAGE if targets.coverage is None else targets.coverage
    half_width = conformal_half_width(np.asarray(predictions, np.float64) - labels, coverage)
    return Calibration(
        coverage=coverage, half_width=_possible(half_width, coverage, len(labels)), num_images=len(labels)
    )


def _below(threshold: float) -> float:
    """Return a threshold that the image from which it was taken reaches in each engine and exported model too."""
    return max(threshold - _MAX_DIFFERENCE, 0.0)


def _probabilities(logits: np.ndarray, is_multi_label: bool) -> np.ndarray:
    if is_multi_label:
        return sigmoid(logits)
    if logits.shape[1] == 1:
        positive = sigmoid(logits)
        return np.concatenate([1 - positive, positive], axis=1)
    return softmax(logits)


def _thresholds(
    probabilities: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...], targets: CalibrationTargets
) -> tuple[float, ...] | None:
    name, target = ("precision", targets.precision) if targets.recall is None else ("recall", targets.recall)
    if target is None:
        return None
    if labels.ndim == 1 and len(class_names) > 2:
        raise ValueError(
            f"`{name}` requires two classes, or independent labels. Received: {len(class_names)} classes. Give "
            "`accuracy`, from which predictions with too low a probability are uncertain."
        )
    columns = [(class_names[1], labels == 1, probabilities[:, 1])]
    if labels.ndim == 2:
        columns = [(label, labels[:, k] == 1, probabilities[:, k]) for k, label in enumerate(class_names)]
    find = precision_threshold if name == "precision" else recall_threshold
    found = []
    for label, positive, scores in columns:
        threshold = find(positive, scores, target)
        if threshold is None:
            raise ValueError(
                f"`{name}` must be reachable on the validation images. Received: {target} for {label!r}, which none of "
                f"its thresholds has ({int(positive.sum())} images have the label). Give a lower value."
            )
        found.append(threshold)
    return tuple(found)


def _min_confidence(
    probabilities: np.ndarray, labels: np.ndarray, thresholds: tuple[float, ...] | None, accuracy: float
) -> float:
    if labels.ndim == 2:
        raise ValueError("`accuracy` requires one label per image. Received: independent labels. Give `precision`.")
    decide = Calibration(thresholds=thresholds).predicted_class
    predicted = np.array([decide(row) for row in probabilities])
    correct, confidence = predicted == labels, probabilities[np.arange(len(labels)), predicted]
    threshold = confidence_threshold(correct, confidence, accuracy)
    if threshold is None:
        best = selective_accuracy(correct, confidence)[2].max()
        raise ValueError(
            f"`accuracy` must be reachable on the validation images. Received: {accuracy}, and the most confident "
            f"predictions reach {best:.4f}. Give a lower value."
        )
    return threshold


def _set_threshold(probabilities: np.ndarray, labels: np.ndarray, coverage: float) -> float:
    if labels.ndim == 2:
        raise ValueError("`coverage` requires one label per image. Received: independent labels. Omit it.")
    threshold = conformal_threshold(probabilities[np.arange(len(labels)), labels], coverage)
    return _possible(threshold, coverage, len(labels))


def _possible(threshold: float | None, coverage: float, images: int) -> float:
    if threshold is None:
        raise ValueError(
            f"`coverage` must be possible with the validation images. Received: {coverage} with {images} images; "
            f"it needs {fewest_images(coverage)}. Add images, or give a lower value."
        )
    return threshold
