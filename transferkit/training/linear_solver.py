"""Setting a linear head to its optimum at once, instead of stepping towards it."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from transferkit.features.linear_probe import LinearProbe, Rows, fit_linear_probe, logits_of, select_linear_probe
from transferkit.features.store import FeatureArray
from transferkit.training.feature_batches import View
from transferkit.training.objective import Objective

SOLVERS = ("adam", "lbfgs")


def solve_linear_head(
    upper: keras.Model,
    views: list[View],
    labels: np.ndarray,
    held_out: tuple[View, np.ndarray] | None,
    *,
    objective: Objective,
    num_classes: int,
) -> dict[str, list[float]]:
    """Give the dense layer of `upper` the weights that minimise the regularised loss; return a history of one epoch.

    The strength of the regularisation is the one with the smallest loss on the held-out features; without any, it is
    a moderate one.

    Args:
        upper: keras.Model of dropout, if any, and one dense layer.
        views: the training features, one tuple of one array for each version of the images.
        labels: of the training images.
        held_out: validation features and labels, or None.
        objective: of the training.
        num_classes: number of classes.

    Raises:
        ValueError: when the head is not linear, or the backbone is trained too.
    """
    dense = _only_dense(upper)
    features = _Stacked([view[0] for view in views])
    targets = np.concatenate([labels] * len(views))
    if held_out is None:
        fit = fit_linear_probe(features, targets, num_classes)
    else:
        fit = select_linear_probe(features, targets, held_out[0][0], held_out[1], num_classes)
    dense.set_weights([fit.kernel.astype("float32"), fit.bias.astype("float32")])
    history = _figures(fit, features, targets, objective, "")
    if held_out is not None:
        history.update(_figures(fit, held_out[0][0], held_out[1], objective, "val_"))
    return history


class _Stacked:
    """The rows of several arrays, one array after another, read when they are asked for."""

    def __init__(self, parts: Sequence[np.ndarray | FeatureArray]) -> None:
        self._parts = parts
        self.shape = (sum(len(part) for part in parts), *parts[0].shape[1:])

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        found = []
        for part in self._parts:
            found.append(part[max(start, 0) : max(stop, 0)])
            start, stop = start - len(part), stop - len(part)
        return np.concatenate(found)


def _only_dense(upper: keras.Model) -> keras.layers.Dense:
    layers = [layer for layer in upper.layers if not isinstance(layer, (keras.layers.InputLayer, keras.layers.Dropout))]
    if len(layers) != 1 or not isinstance(layers[0], keras.layers.Dense):
        kinds = ", ".join(type(layer).__name__ for layer in layers)
        raise ValueError(
            f"`solver='lbfgs'` must be given a linear head on a frozen backbone. Received: {kinds} to be trained. Use "
            "solver='adam', or ClassifierHead without `hidden` layers before fine-tuning."
        )
    return layers[0]


def _figures(
    fit: LinearProbe, features: Rows, labels: np.ndarray, objective: Objective, prefix: str
) -> dict[str, list[float]]:
    logits = logits_of(fit, features).astype("float32")
    metric = objective.metrics()[0]
    metric.update_state(labels[:, None] if objective.kind == "binary" else labels, logits)
    return {f"{prefix}loss": [objective.loss_of(labels, logits)], f"{prefix}accuracy": [float(metric.result())]}
