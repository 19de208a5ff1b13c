"""Checks of the arguments of a report and of its methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from transferkit._utils.checks import check_fraction, check_int
from transferkit.evaluation.report_metrics import ReportMetrics

# float32 probabilities exceed 1 by rounding.
_TOLERANCE = 1e-4


def check_shapes(
    labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str], paths: Sequence[str] | None
) -> None:
    """Raise a ValueError when the arguments of a report do not fit together, or a label is out of its range."""
    shape = (len(labels), len(class_names))
    fits = probabilities.shape == shape and labels.shape in ((shape[0],), shape)
    if not fits or not len(labels):
        raise ValueError(
            "`probabilities` must be (images, classes), with one of `labels` per image and one of `class_names` "
            f"per class. Received: probabilities {probabilities.shape}, labels {labels.shape}, "
            f"{shape[1]} class names."
        )
    allowed = range(2 if labels.ndim == 2 else shape[1])
    if not np.isin(labels, allowed).all():
        wrong = labels[~np.isin(labels, allowed)][0]
        raise ValueError(f"`labels` must be in [0, {len(allowed) - 1}]. Received: {wrong}.")
    if paths is not None and len(paths) != shape[0]:
        received = f"{len(paths)} for {shape[0]} images"
        raise ValueError(f"`paths` must contain one path per image. Received: {received}.")


def check_thresholds(thresholds: Sequence[float] | None, num_classes: int, multi_label: bool) -> None:
    """Raise a ValueError for thresholds that do not fit the classes."""
    if thresholds is None:
        return
    expected = num_classes if multi_label else 1
    if len(thresholds) != expected or (num_classes > 2 and not multi_label):
        raise ValueError(
            "`thresholds` must be one number for two classes, or one per class for multi-label classification. "
            f"Received: {len(thresholds)} for {num_classes} classes."
        )
    for threshold in thresholds:
        check_fraction("thresholds", threshold)


def check_probabilities(probabilities: np.ndarray, paths: Sequence[str] | None) -> None:
    """Raise a ValueError for a probability that is NaN or out of [0, 1], with the first such image."""
    valid = (probabilities >= -_TOLERANCE) & (probabilities <= 1 + _TOLERANCE)
    if not valid.all():
        image, column = np.argwhere(~valid)[0]
        place = f"image {image}" if paths is None else repr(paths[image])
        raise ValueError(
            f"`probabilities` must be in [0, 1]. Received: {probabilities[image, column]:g} for {place}. Give the "
            "softmax or sigmoid of logits."
        )


def check_resampling(level: Any, samples: Any, seed: Any) -> None:
    """Raise a ValueError when an argument of a bootstrap is out of its range."""
    if check_fraction("level", level, below_one=True) == 0:
        raise ValueError(f"`level` must be above 0. Received: {level!r}. Give 0.95 for 95 percent.")
    check_int("samples", samples)
    check_int("seed", seed, minimum=0)


def check_same_images(first: Any, second: Any) -> None:
    """Raise a TypeError for something that is not a report, a ValueError for a report of other images."""
    for report in (first, second):
        if not isinstance(report, ReportMetrics):
            received = type(report).__name__
            raise TypeError(
                f"`other` and `reports` must be of class Report. Received: {received}. Give trainer.evaluate(data)."
            )
    reason = _difference(first, second)
    if reason:
        raise ValueError(
            f"Reports to compare must be of the same images in the same order. Received: {reason}. Evaluate both "
            "classifiers on the same split."
        )


def _difference(first: ReportMetrics, second: ReportMetrics) -> str:
    if first.class_names != second.class_names:
        return f"classes {list(first.class_names)!r:.200} and {list(second.class_names)!r:.200}"
    if first.labels.shape != second.labels.shape:
        return f"labels {first.labels.shape} and {second.labels.shape}"
    differs = first.labels != second.labels
    if differs.any():
        return f"different labels of {int(differs.reshape(len(differs), -1).any(axis=1).sum()):,} images"
    paths = [pair for pair in zip(first.paths or (), second.paths or ()) if pair[0] != pair[1]]
    return f"different files, such as {paths[0][0]!r} and {paths[0][1]!r}" if paths else ""
