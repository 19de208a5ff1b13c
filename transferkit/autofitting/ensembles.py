"""Greedy selection of classifiers whose logits are averaged, and the Keras model that does so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import keras
import numpy as np

from transferkit.modeling.embedding import embedding_tensor
from transferkit.modeling.keras_graph import mark_called

_MAX_STEPS = 8


def select_members(
    logits: Sequence[np.ndarray], quality: Callable[[np.ndarray], tuple[float, ...]]
) -> dict[int, float]:
    """Return index -> weight of the logits whose weighted mean has the best quality; weights have the sum 1.

    From the best one on, the one is added that improves the mean most, the same one more than once if need be, until
    none does.

    >>> both = [np.array([[2.0], [-1.0]]), np.array([[-1.0], [2.0]])]
    >>> select_members(both, lambda mean: (float(mean.min()),))
    {0: 0.5, 1: 0.5}

    Reference: Caruana et al., "Ensemble Selection from Libraries of Models", 2004.
    """
    chosen: list[int] = []
    total = np.zeros_like(logits[0])
    best: tuple[float, ...] | None = None
    for _ in range(_MAX_STEPS):
        candidates = [quality((total + one) / (len(chosen) + 1)) for one in logits]
        # The first of equal ones, so that the result does not depend on rounding in other numbers of candidates.
        index = max(range(len(logits)), key=lambda index: (candidates[index], -index))
        if best is not None and candidates[index] <= best:
            break
        best, total = candidates[index], total + logits[index]
        chosen.append(index)
    return {index: chosen.count(index) / len(chosen) for index in sorted(set(chosen))}


@dataclasses.dataclass(frozen=True)
class Member:
    """A classifier in an ensemble.

    Attributes:
        model: from images to logits.
        factor: of its logits.
        backbone: equal for classifiers with one backbone.
    """

    model: keras.Model
    factor: float
    backbone: Hashable


def build_ensemble(members: Sequence[Member]) -> keras.Model:
    """Return a model from images to the sum of the logits of classifiers, each times its factor.

    The features of a backbone that several classifiers have are computed once.
    """
    images = keras.Input(members[0].model.input_shape[1:], name="image")
    features: dict[Hashable, Any] = {}
    terms = []
    for index, member in enumerate(members):
        pooled = embedding_tensor(member.model)
        if member.backbone not in features:
            body = keras.Model(member.model.inputs, pooled, name=f"features_{len(features)}")
            features[member.backbone] = body(images)
        head = keras.Model(pooled, member.model.outputs[0], name=f"head_{index}")
        scaled = keras.layers.Rescaling(member.factor, name=f"factor_{index}", dtype="float32")
        terms.append(scaled(head(features[member.backbone])))
    total = keras.layers.Add(name="logits", dtype="float32")(terms)
    return mark_called(keras.Model(images, total, name="ensemble"))
