"""Learning rates per layer, and a pull toward the weights before a phase, on standard Keras optimizers."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from transferkit.modeling.freezing import find_blocks
from transferkit.modeling.keras_graph import find_backbone


def set_layer_rates(
    optimizer: keras.optimizers.Optimizer, model: keras.Model, *, layer_decay: float = 1.0, l2_sp: float = 0.0
) -> None:
    """Change the updates of `optimizer`, built for the trainable variables of `model`.

    The learning rate of a variable is multiplied by `layer_decay` once for each block between it and the head, and
    each update moves the weights of the backbone by learning rate * `l2_sp` of the distance toward their present
    values, decoupled from the gradients as in AdamW.

    References: Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification", 2018,
    arXiv:1801.06146; Li et al., "Explicit Inductive Bias for Transfer Learning with Convolutional Networks", 2018,
    arXiv:1802.01483.
    """
    if layer_decay == 1.0 and not l2_sp:
        return
    target: Any = getattr(optimizer, "inner_optimizer", optimizer)
    scales = layer_scales(model, layer_decay)
    in_backbone = {id(variable) for variable in find_backbone(model).trainable_variables}
    starts = [
        tf.identity(variable.value) if l2_sp and id(variable) in in_backbone else None
        for variable in model.trainable_variables
    ]
    rates = [scales[id(variable)] for variable in model.trainable_variables]
    update, index_of = target.update_step, target._get_variable_index

    def scaled_update(gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = index_of(variable)
        rate = keras.ops.cast(learning_rate, variable.dtype) * rates[index]
        start = starts[index]
        update(gradient, variable, rate)
        if start is not None:
            target.assign_sub(variable, rate * l2_sp * (variable - start))

    # On the instance: the class stays that of Keras, and so do its configuration and its files.
    target.update_step = scaled_update


def layer_scales(model: keras.Model, layer_decay: float) -> dict[int, float]:
    """Return id of each trainable variable -> factor of its learning rate: 1 in the head."""
    backbone = find_backbone(model)
    scales = {id(variable): 1.0 for variable in model.trainable_variables}
    if backbone is model:
        return scales
    starts = sorted(find_blocks(backbone).values())
    if not starts:
        starts = [index for index, layer in enumerate(backbone.layers) if layer.weights]
    for index, layer in enumerate(backbone.layers):
        blocks_above = sum(start > index for start in starts)
        for variable in layer.trainable_variables:
            scales[id(variable)] = layer_decay ** (blocks_above + 1)
    return scales
