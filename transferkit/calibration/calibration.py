"""What calibration changes in predictions, as plain numbers that are saved with a classifier."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from transferkit._utils.hashing import content_hash, fingerprint

_FRACTIONS = ("min_confidence", "coverage", "set_threshold")


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The result of `Trainer.calibrate`.

    Attributes:
        temperature: float > 0, by which logits are divided.
        thresholds: tuple of float in [0, 1], or None: the probability from which a label is predicted, of the second of
            two classes or of each independent label. Without, it is 0.5.
        min_confidence: float in [0, 1], or None: the probability from which a prediction is not uncertain.
        coverage: float in (0, 1), or None: the probability with which label sets contain the true label.
        set_threshold: float in [0, 1], or None: the probability from which a class is in the label set.
        num_images: int, the number of validation images.
        max_distance: float >= 0, or None: the largest distance to the training images of an image that is in
            distribution.
        half_width: float >= 0, or None: half of the width of the intervals of predicted numbers, which contain the true
            one with the probability `coverage`.
        training_features: float16 (images, features) of length 1, or None: the features with which those of an image
            are compared.

    Example:

    >>> calibration = trainer.calibrate(data, coverage=0.9)  # doctest: +SKIP
    >>> calibration.temperature, calibration.set_threshold  # doctest: +SKIP
    (1.31, 0.12)
    """

    temperature: float = 1.0
    thresholds: tuple[float, ...] | None = None
    min_confidence: float | None = None
    coverage: float | None = None
    set_threshold: float | None = None
    num_images: int = 0
    max_distance: float | None = None
    half_width: float | None = None
    training_features: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in _FRACTIONS}
        values |= {f"thresholds[{index}]": value for index, value in enumerate(self.thresholds or ())}
        for name, value in values.items():
            if value is not None and not (_is_number(value) and 0 <= value <= 1):
                raise ValueError(f"`{name}` must be in [0, 1]. Received: {value!r}.")
        if not _is_number(self.temperature) or not 0 < self.temperature < math.inf:
            raise ValueError(f"`temperature` must be a finite number > 0. Received: {self.temperature!r}.")
        for name in ("max_distance", "half_width"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 <= value < math.inf):
                raise ValueError(f"`{name}` must be a finite number >= 0. Received: {value!r}.")

    def scale(self, logits: Any) -> np.ndarray:
        """Return `logits`, float (n, units), divided by the temperature."""
        return np.asarray(logits) / np.float32(self.temperature)

    def predicted_class(self, probabilities: np.ndarray) -> int:
        """Return the index of the predicted class of `probabilities`, float (classes,)."""
        if self.thresholds is not None and len(self.thresholds) == 1:
            return int(probabilities[1] >= self.thresholds[0])
        return int(np.argmax(probabilities))

    def label_set(self, probabilities: np.ndarray) -> list[int] | None:
        """Return the classes that are plausible for an image, or the independent labels that reach their thresholds.

        `probabilities` is float (classes,). None without a coverage and without thresholds of independent labels. It
        may be empty.
        """
        if self.thresholds is not None and len(self.thresholds) > 1:
            return np.flatnonzero(probabilities >= np.array(self.thresholds)).tolist()
        if self.set_threshold is None:
            return None
        return np.flatnonzero(probabilities >= self.set_threshold).tolist()

    def in_distribution(self, distance: float | None) -> bool | None:
        """Return whether an image resembles the training images; None where that is not calibrated.

        Args:
            distance: float, that of its features to those of the training images, or None.
        """
        return None if self.max_distance is None or distance is None else distance <= self.max_distance

    def check_fits(self, num_classes: int, activation: str | None) -> None:
        """Raise a ValueError when a classifier with these outputs cannot use the calibration.

        Args:
            num_classes: int >= 1. Number of classes.
            activation: "sigmoid", "softmax" or None, what turns the outputs into probabilities; or "linear", for
                numbers.
        """
        of_classes = self.thresholds, self.min_confidence, self.set_threshold
        is_of_classes = self.temperature != 1 or any(value is not None for value in of_classes)
        if is_of_classes if activation == "linear" else self.half_width is not None:
            raise ValueError(
                "`calibration` must be one of classes for classes, and one of numbers for numbers. Received: "
                f"{self!r} with activation {activation!r}. Calibrate this model."
            )
        if activation is None:
            raise ValueError(
                "`calibration` requires a model that returns logits. Received: activation None, for a model that "
                "returns probabilities. Omit it."
            )
        expected = (1, num_classes) if num_classes == 2 else (num_classes,)
        if self.thresholds is not None and (activation != "sigmoid" or len(self.thresholds) not in expected):
            raise ValueError(
                "The thresholds of `calibration` must be one of the second of two classes, or one of each independent "
                f"label. Received: {len(self.thresholds)} for {num_classes} classes with activation {activation!r}. "
                "Calibrate this classifier."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON; the features of the training images are left out."""
        values = {name: value for name, value in vars(self).items() if name != "training_features"}
        if self.half_width is None:
            # Versions before numbers as labels read the rest.
            del values["half_width"]
        return {**values, "thresholds": None if self.thresholds is None else list(self.thresholds)}

    def fingerprint(self) -> str:
        """Return digits that differ whenever predictions could."""
        features = b"" if self.training_features is None else content_hash(self.training_features.tobytes())
        return fingerprint(json.dumps(self.to_dict(), sort_keys=True), features)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Return the calibration with the `values` of `to_dict()`; a ValueError or TypeError for anything else."""
        thresholds = values["thresholds"]
        if thresholds is not None and not isinstance(thresholds, list):
            raise TypeError("`thresholds` must be a list")
        if type(values["num_images"]) is not int:
            raise TypeError("`num_images` must be an int")
        return cls(**{**values, "thresholds": None if thresholds is None else tuple(thresholds)})


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
