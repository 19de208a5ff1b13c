"""Wrong predictions: one by one, and grouped by pairs of true and predicted class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from transferkit.evaluation.outcomes import Outcomes


class Wrong(NamedTuple):
    """Wrong predictions, the most confident first.

    Attributes:
        images: int (mistakes,), the index of the image.
        columns: int (mistakes,), the predicted class; for multi-label classification the class that is wrong.
        confidence: float (mistakes,), the probability of the prediction.
    """

    images: np.ndarray
    columns: np.ndarray
    confidence: np.ndarray


def wrong_predictions(outcomes: Outcomes) -> Wrong:
    """Return the wrong predictions, for multi-label classification one per wrong pair of image and class."""
    positions = np.nonzero(~outcomes.correct)
    confidence = outcomes.confidence[positions]
    order = np.argsort(-confidence, kind="stable")
    images = positions[0][order]
    columns = positions[1][order] if outcomes.multi_label else outcomes.predictions[images]
    return Wrong(images, columns, confidence[order])


def label_names(outcomes: Outcomes, names: Sequence[str], image: int, column: int) -> tuple[str, str]:
    """Return the true and the predicted label of a wrong prediction; "not <class>" for an absent label."""
    if not outcomes.multi_label:
        return names[int(outcomes.labels[image])], names[column]
    pair = (f"not {names[column]}", names[column])
    return pair if outcomes.predictions[image, column] else pair[::-1]


def mistake_rows(outcomes: Outcomes, names: Sequence[str], paths: Sequence[str] | None) -> list[dict[str, Any]]:
    """Return one dict per wrong prediction, the most confident first."""
    rows = []
    for image, column, probability in zip(*(values.tolist() for values in wrong_predictions(outcomes))):
        true, predicted = label_names(outcomes, names, image, column)
        row = {"index": image, "path": None if paths is None else paths[image]}
        rows.append({**row, "true_label": true, "predicted_label": predicted, "probability": probability})
    return rows


def confusion_rows(outcomes: Outcomes, names: Sequence[str], count: int | None, examples: int) -> list[dict[str, Any]]:
    """Return one dict per pair of classes that is confused, the most frequent first.

    "fraction" is that of the images with the true label; "indices" are images, the most confident first.
    """
    wrong = wrong_predictions(outcomes)
    keys = _pair_keys(outcomes, wrong)
    pairs, firsts, counts = np.unique(keys, return_index=True, return_counts=True)
    rows = []
    for which in np.argsort(-counts, kind="stable")[:count]:
        image, column = int(wrong.images[firsts[which]]), int(wrong.columns[firsts[which]])
        true, predicted = label_names(outcomes, names, image, column)
        row = {"true_label": true, "predicted_label": predicted, "images": int(counts[which])}
        fraction = float(counts[which] / _images_with_label_of(outcomes, image, column))
        indices = wrong.images[keys == pairs[which]][:examples].tolist()
        rows.append({**row, "fraction": fraction, "indices": indices})
    return rows


def _pair_keys(outcomes: Outcomes, wrong: Wrong) -> np.ndarray:
    """Return one number per wrong prediction, equal for equal pairs of true and predicted label."""
    if outcomes.multi_label:
        return 2 * wrong.columns + outcomes.predictions[wrong.images, wrong.columns]
    return outcomes.labels[wrong.images] * outcomes.num_classes + wrong.columns


def _images_with_label_of(outcomes: Outcomes, image: int, column: int) -> int:
    if outcomes.multi_label:
        return int(np.sum(outcomes.labels[:, column] == outcomes.labels[image, column]))
    return int(np.sum(outcomes.labels == outcomes.labels[image]))
