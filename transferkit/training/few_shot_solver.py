"""Sets heads of class means and of nearest neighbors from the features of the training images."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from transferkit.features.few_shot import fit_prototypes, neighbor_scale, unit_rows
from transferkit.head.few_shot import PROTOTYPES, SCALE, SIMILARITIES, SMOOTHING, UNUSED, VOTES
from transferkit.training.feature_data import CachedFeatures
from transferkit.training.linear_solver import ConcatenatedRows
from transferkit.training.objective import Objective

_BATCH = 256


def solve_few_shot_head(
    kind: str, trained: keras.Model, features: CachedFeatures, objective: Objective, num_classes: int
) -> dict[str, list[float]]:
    """Set the weights of a head of `kind` "prototype" or "knn"; return the metrics of one epoch."""
    rows = ConcatenatedRows([view[0] for view in features.views])
    labels = np.concatenate([features.labels] * len(features.views)).astype(int)
    solve = _solve_prototypes if kind == "prototype" else _solve_neighbors
    solve(trained, rows, labels, num_classes)
    history = _metrics(trained, rows, labels, objective)
    if features.validation is not None:
        (validation, *_), (validation_labels, *_) = features.validation
        values = _metrics(trained, validation, validation_labels, objective)
        history.update({f"val_{name}": value for name, value in values.items()})
    return history


def _solve_prototypes(trained: keras.Model, rows: ConcatenatedRows, labels: np.ndarray, num_classes: int) -> None:
    probe = fit_prototypes(rows, labels, num_classes, scale=_given_scale(trained))
    trained.get_layer(PROTOTYPES).set_weights([probe.kernel.astype("float32")])


def _solve_neighbors(trained: keras.Model, rows: ConcatenatedRows, labels: np.ndarray, num_classes: int) -> None:
    layer, votes = trained.get_layer(SIMILARITIES), trained.get_layer(VOTES)
    neighbors, count = _number_of_neighbors(trained), len(labels)
    if not neighbors <= count <= layer.units:
        raise ValueError(
            f"The number of training images must be from `neighbors` to `max_images` of the head, {neighbors} to "
            f"{layer.units}. Received: {count} views of images. Build it with ClassifierHead(kind='knn', "
            "max_images=...)."
        )
    # The cached features are those before the normalization.
    features = unit_rows(rows[:count])
    scale = _given_scale(trained)
    if scale is None:
        scale = neighbor_scale(features, labels, num_classes, neighbors, SMOOTHING)
    kernel, bias = np.zeros((features.shape[1], layer.units)), np.full(layer.units, UNUSED)
    kernel[:, :count], bias[:count] = features.T, 0
    classes = np.zeros((layer.units, num_classes))
    classes[np.arange(count), labels] = 1
    layer.set_weights([kernel * scale, bias * scale])
    votes.set_weights([classes])


def _given_scale(trained: keras.Model) -> float | None:
    """Return 1 for a head whose scale is a layer; None where it is part of the weights, and to be chosen."""
    return 1.0 if any(layer.name == SCALE for layer in trained.layers) else None


def _number_of_neighbors(trained: keras.Model) -> int:
    return next(int(layer.k) for layer in trained.operations if type(layer).__name__ == "TopK")


def _metrics(trained: keras.Model, rows: Any, labels: np.ndarray, objective: Objective) -> dict[str, list[float]]:
    blocks = [rows[start : start + _BATCH] for start in range(0, len(labels), _BATCH)]
    return objective.values_of(labels, np.concatenate([np.asarray(trained(block)) for block in blocks]))
