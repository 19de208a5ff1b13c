"""Sets a linear head to its optimum instead of training it step by step."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from transferkit.features.linear_probe import (
    LinearProbe,
    RowSource,
    cross_validated_l2,
    fit_linear_probe,
    probe_logits,
    select_linear_probe,
)
from transferkit.features.store import FeatureArray
from transferkit.training.feature_data import CachedFeatures
from transferkit.training.objective import Objective

# Fewer validation images choose the regularization by chance.
_FEW_IMAGES = 100
_MODERATE_L2 = 1e-2
# Training images that take part in the cross-validation.
_MAX_ROWS = 5000


def solve_linear_head(
    trained: keras.Model,
    features: CachedFeatures,
    objective: Objective,
    num_classes: int,
    l2: float | None = None,
) -> dict[str, list[float]]:
    """Set the dense layer of `trained` to the minimum of the regularized loss; return the metrics of one epoch.

    Without `l2`, the regularization is the one with the smallest validation loss or, with few validation images, with
    the smallest loss in a cross-validation on training images. A head that is not linear raises a ValueError.
    """
    dense = _required_head(trained)
    rows = ConcatenatedRows([view[0] for view in features.views])
    labels = np.concatenate([features.labels] * len(features.views))
    if features.validation is not None:
        validation, (validation_labels, *_) = features.validation
    if l2 is not None:
        probe = fit_linear_probe(rows, labels, num_classes, l2=l2)
    elif features.validation is None or len(validation_labels) < _FEW_IMAGES:
        # The original images; augmented views of the same image would be on both sides of a fold.
        chosen = np.sort(np.random.default_rng(0).permutation(len(features.labels))[:_MAX_ROWS])
        found = cross_validated_l2(np.asarray(features.views[0][0][chosen]), features.labels[chosen], num_classes)
        probe = fit_linear_probe(rows, labels, num_classes, l2=_MODERATE_L2 if found is None else found)
    else:
        probe = select_linear_probe(rows, labels, validation[0], validation_labels, num_classes)
    dense.set_weights([probe.kernel.astype("float32"), probe.bias.astype("float32")])
    history = _metrics(probe, rows, labels, objective)
    if features.validation is not None:
        values = _metrics(probe, validation[0], validation_labels, objective)
        history.update({f"val_{name}": value for name, value in values.items()})
    return history


class ConcatenatedRows:
    """The rows of several arrays, read when they are indexed."""

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


def linear_head(trained: keras.Model) -> keras.layers.Dense | None:
    """Return the dense layer of a trained part that has no other layer and no operation after it, or None."""
    layers = _layers(trained)
    if len(layers) != 1 or not isinstance(layers[0], keras.layers.Dense):
        return None
    return layers[0] if trained.outputs[0]._keras_history.operation is layers[0] else None


def _layers(trained: keras.Model) -> list[keras.layers.Layer]:
    ignored = keras.layers.InputLayer, keras.layers.Dropout
    return [layer for layer in trained.layers if not isinstance(layer, ignored)]


def _required_head(trained: keras.Model) -> keras.layers.Dense:
    head = linear_head(trained)
    if head is None:
        kinds = ", ".join(type(layer).__name__ for layer in _layers(trained))
        raise ValueError(
            f"`solver='lbfgs'` requires a linear head on a frozen backbone. Received: {kinds} to be trained. Use "
            "solver='adam', or ClassifierHead without `hidden` layers before fine-tuning."
        )
    return head


def _metrics(
    probe: LinearProbe, features: RowSource, labels: np.ndarray, objective: Objective
) -> dict[str, list[float]]:
    return objective.values_of(labels, probe_logits(probe, features).astype("float32"))
