"""Heads for few images per class: class means, normalized weights and nearest neighbors.

They consist of layers and operations of Keras, so that a saved model does not need this package. The trainer finds
them by the names of their layers.
"""

from __future__ import annotations

from typing import Any

import keras

UNIT_FEATURES, PROTOTYPES, SIMILARITIES, VOTES = "unit_features", "prototypes", "similarities", "votes"
COSINES, SCALE = "cosines", "scale"
# Heads whose weights are computed from the features of the training images, and not by steps.
COMPUTED = ("prototype", "knn")
# At first; it is the usual order of magnitude, see Gidaris and Komodakis below.
_INITIAL_SCALE = 10.0
# Fraction of the votes of each class without any, so that no logit is infinite.
SMOOTHING = 0.01
# Cosines are at least -1, so no image is the neighbor of a column that is not used.
UNUSED = -2.0


def few_shot_kind(model: keras.Model) -> str | None:
    """Return "prototype" or "knn" for a classifier with such a head, else None."""
    names = {layer.name for layer in getattr(model, "layers", ())}
    if {UNIT_FEATURES, PROTOTYPES} <= names:
        return "prototype"
    return "knn" if {UNIT_FEATURES, SIMILARITIES, VOTES} <= names else None


def prototype_layers(units: int, scale: float | None) -> list[keras.layers.Layer]:
    """Return layers whose logits are scaled cosines to the class means; of one logit, the difference of two.

    Without a scale, it is part of the weights.

    Reference: Snell et al., "Prototypical Networks for Few-shot Learning", 2017, arXiv:1703.05175.
    """
    layers = [_unit_features(), _dense(units, name=PROTOTYPES)]
    return layers if scale is None else [*layers, keras.layers.Rescaling(scale, name=SCALE, dtype="float32")]


def cosine_layers(
    units: int, scale: float | None, l2: float = 0.0, *, use_bias: bool = False
) -> list[keras.layers.Layer]:
    """Return layers whose logits are cosines to weight vectors, times `scale` or, without one, a trained factor each.

    With `use_bias`, which requires trained factors, a trained bias is added to each logit.

    Reference: Gidaris and Komodakis, "Dynamic Few-Shot Visual Learning without Forgetting", 2018, arXiv:1804.09458.
    """
    options: dict[str, Any] = {"kernel_constraint": keras.constraints.UnitNorm(axis=0)}
    if l2:
        options["kernel_regularizer"] = keras.regularizers.L2(l2)
    layers = [_unit_features(), _dense(units, name=COSINES, **options)]
    if scale is not None:
        return [*layers, keras.layers.Rescaling(scale, name=SCALE, dtype="float32")]
    initial = keras.initializers.Constant(_INITIAL_SCALE)
    bias = {"bias_axes": "c"} if use_bias else {}
    factor = keras.layers.EinsumDense(
        "bc,c->bc", units, kernel_initializer=initial, name=SCALE, dtype="float32", **bias
    )
    return [*layers, factor]


def neighbor_logits(features: Any, num_classes: int, neighbors: int, max_images: int, scale: float | None) -> Any:
    """Return logits of the classes of the most similar training images, which vote by exp(scale * cosine).

    The weights have room for `max_images` training images.

    Reference: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", 2018,
    arXiv:1805.01978.
    """
    bias = {"use_bias": True, "bias_initializer": keras.initializers.Constant(UNUSED)}
    similarities = _dense(max_images, name=SIMILARITIES, **bias)(_unit_features()(features))
    if scale is not None:
        similarities = keras.layers.Rescaling(scale, name=SCALE, dtype="float32")(similarities)
    smallest = keras.ops.top_k(similarities, neighbors)[0][:, -1:]
    is_neighbor = similarities >= smallest
    weights = keras.ops.softmax(keras.ops.where(is_neighbor, similarities, -1e9), axis=-1)
    votes = keras.ops.log(_dense(num_classes, name=VOTES)(weights) + SMOOTHING)
    return votes[:, 1:] - votes[:, :1] if num_classes == 2 else votes


def _unit_features() -> keras.layers.Layer:
    return keras.layers.UnitNormalization(name=UNIT_FEATURES, dtype="float32")


def _dense(units: int, **options: Any) -> keras.layers.Dense:
    return keras.layers.Dense(units, kernel_initializer="zeros", dtype="float32", **{"use_bias": False, **options})
