"""Freezes and unfreezes the layers of any keras.Model; compile the model again afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator

import keras

from transferkit._utils.checks import check_fraction, check_int, did_you_mean
from transferkit.modeling.composite import repeated_composites
from transferkit.modeling.dropout import disable_frozen_dropout
from transferkit.modeling.keras_graph import all_layers

# How the layers of keras.applications name their block.
_BLOCK = re.compile(
    r"^(.*stage_\d+_block_\d+|conv\d+_block\d+|block_?\d+[a-z]?(?=_)|block\d+_\d+|expanded_conv_\d+|conv_[dp]w_\d+|.*block_?\d+)"
)


def freeze(model: keras.Model) -> None:
    """Freeze all layers of `model`; its batch normalization and dropout stay in inference mode."""
    model.trainable = False
    disable_frozen_dropout(model)


def unfreeze(
    model: keras.Model,
    from_layer: int | str | None = None,
    *,
    fraction: float | None = None,
    blocks: int | None = None,
    batch_norm: bool = False,
    argument: str = "from_layer",
) -> int:
    """Make the upper layers of `model` trainable and return the index of the first; without a choice, all of them.

    Give at most one of `from_layer` (index or name of the first trainable layer), `fraction` of the layers and number
    of `blocks`, from the top; `argument` is the name of the first in errors. Batch normalization stays in inference
    mode unless `batch_norm` is True: in `fit`, only the `trainable` attribute of each such layer keeps its statistics,
    not a call with training=False.
    """
    choices = {argument: from_layer, "fraction": fraction, "blocks": blocks}
    if sum(choice is not None for choice in choices.values()) > 1:
        raise ValueError(
            f"At most one of `{argument}`, `fraction` and `blocks` must be given. "
            f"Received: {', '.join(f'{name}={value!r}' for name, value in choices.items())}."
        )
    first = _first_layer(model, from_layer, fraction, blocks, argument)
    model.trainable = True
    for index, layer in enumerate(model.layers):
        layer.trainable = index >= first
    if not batch_norm:
        for layer in batch_norm_layers(model):
            layer.trainable = False
    disable_frozen_dropout(model)
    return first


def batch_norm_layers(model: keras.Model) -> Iterator[keras.layers.BatchNormalization]:
    """Yield every batch normalization layer of a model, also inside nested models and composite layers."""
    return (layer for layer in all_layers(model) if isinstance(layer, keras.layers.BatchNormalization))


def find_blocks(model: keras.Model) -> dict[str, int]:
    """Return the names of a model's blocks, in order, with the index of their first layer.

    A block is a group of layers named as those of keras.applications, or a layer made of layers whose class occurs more
    than once, as in transformers.
    """
    composites = {id(layer) for layer in repeated_composites(model.layers)}
    found: dict[str, int] = {}
    for index, layer in enumerate(model.layers):
        match = _BLOCK.match(layer.name)
        if id(layer) in composites:
            found.setdefault(layer.name, index)
        elif match:
            found.setdefault(match.group(1), index)
    return found


def _first_layer(
    model: keras.Model, from_layer: int | str | None, fraction: float | None, blocks: int | None, argument: str
) -> int:
    count = len(model.layers)
    if fraction is not None:
        return count - round(check_fraction("fraction", fraction) * count)
    if blocks is not None:
        return _first_of_blocks(model, check_int("blocks", blocks))
    if from_layer is None:
        return 0
    if isinstance(from_layer, str):
        names = [layer.name for layer in model.layers]
        if from_layer in names:
            return names.index(from_layer)
        required, hint = f"be the name of a layer of {model.name!r}", did_you_mean(from_layer, names)
    else:
        if not isinstance(from_layer, bool) and -count <= int(from_layer) < count:
            return int(from_layer) % count
        required, hint = f"be the index of a layer of {model.name!r}, from 0 to {count - 1}", ""
    raise ValueError(f"`{argument}` must {required}. Received: {from_layer!r}. {hint}".rstrip())


def _first_of_blocks(model: keras.Model, blocks: int) -> int:
    found = find_blocks(model)
    if blocks > len(found):
        raise ValueError(
            f"`blocks` must be at most the number of blocks of {model.name!r}, {len(found)}. Received: {blocks}. "
            "Use a layer or `fraction` where layer names do not show the blocks."
        )
    return sorted(found.values())[-blocks]
