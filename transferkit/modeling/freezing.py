"""Which layers of a model are trained. Works on any keras.Model; after a change the model must be compiled again."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator

import keras

from transferkit._utils.checks import check_fraction, check_int, did_you_mean
from transferkit.modeling.keras_graph import all_layers

# How the layers of keras.applications name the block that they belong to.
_BLOCK = re.compile(
    r"^(.*stage_\d+_block_\d+|conv\d+_block\d+|block_?\d+[a-z]?(?=_)|block\d+_\d+|expanded_conv_\d+|conv_[dp]w_\d+|.*block_?\d+)"
)


# The rates of dropout layers that were put to sleep, for when they are wakened.
_RATES: weakref.WeakKeyDictionary[keras.layers.Layer, float] = weakref.WeakKeyDictionary()


def freeze(model: keras.Model) -> None:
    """Train nothing of `model`; its batch normalisation and dropout stay in inference mode."""
    model.trainable = False
    _hold_dropout(model)


def unfreeze(
    model: keras.Model,
    from_layer: int | str | None = None,
    *,
    fraction: float | None = None,
    blocks: int | None = None,
    batch_norm: bool = False,
) -> None:
    """Train the upper layers of `model`, from a given one up; without a choice, all of them.

    Batch normalisation stays in inference mode: calling the model with training=False does not hold its statistics
    while it is fitted, only the layers' own `trainable` does.

    Args:
        model: any keras.Model, most often a backbone.
        from_layer: number of the first layer to train, from 0 (a negative one counts from the end), or its name.
        fraction: share of the layers to train, from the top, in [0, 1].
        blocks: number of blocks to train, from the top, with all that stands above them.
        batch_norm: whether batch normalisation of the unfrozen layers is trained too, statistics included.

    Raises:
        ValueError: when more than one choice was made, or there is no such layer or block.
    """
    if sum(choice is not None for choice in (from_layer, fraction, blocks)) > 1:
        raise ValueError(
            "One of `from_layer`, `fraction` and `blocks` at most must be given. "
            f"Received: from_layer={from_layer!r}, fraction={fraction!r}, blocks={blocks!r}."
        )
    first = _first_layer(model, from_layer, fraction, blocks)
    model.trainable = True
    for number, layer in enumerate(model.layers):
        layer.trainable = number >= first
    if not batch_norm:
        for layer in batch_norm_layers(model):
            layer.trainable = False
    _hold_dropout(model)


def batch_norm_layers(model: keras.Model) -> Iterator[keras.layers.BatchNormalization]:
    """Yield every batch normalisation of a model, in nested models too."""
    return (layer for layer in all_layers(model) if isinstance(layer, keras.layers.BatchNormalization))


def _hold_dropout(model: keras.Model) -> None:
    """Let frozen dropout layers pass everything, as in inference: a fit would have them drop, whatever is frozen."""
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.Dropout):
            rate = _RATES.setdefault(layer, layer.rate)
            layer.rate = rate if layer.trainable else 0.0


def find_blocks(model: keras.Model) -> dict[str, int]:
    """Return the names of a model's blocks, in order, each with the number of its first layer."""
    found: dict[str, int] = {}
    for number, layer in enumerate(model.layers):
        match = _BLOCK.match(layer.name)
        if match:
            found.setdefault(match.group(1), number)
    return found


def _first_layer(model: keras.Model, from_layer: int | str | None, fraction: float | None, blocks: int | None) -> int:
    count = len(model.layers)
    if fraction is not None:
        return count - round(check_fraction("fraction", fraction) * count)
    if blocks is not None:
        return _first_of_blocks(model, check_int("blocks", blocks))
    if isinstance(from_layer, str):
        names = [layer.name for layer in model.layers]
        if from_layer not in names:
            raise ValueError(
                f"`from_layer` must name a layer of {model.name!r}. Received: {from_layer!r}. "
                f"{did_you_mean(from_layer, names)}"
            )
        return names.index(from_layer)
    if from_layer is None:
        return 0
    if isinstance(from_layer, bool) or not -count <= int(from_layer) < count:
        raise ValueError(
            f"`from_layer` must be the number of a layer of {model.name!r}, from 0 to {count - 1}. "
            f"Received: {from_layer!r}."
        )
    return int(from_layer) % count


def _first_of_blocks(model: keras.Model, blocks: int) -> int:
    found = find_blocks(model)
    if blocks > len(found):
        raise ValueError(
            f"`blocks` must be at most the number of blocks of {model.name!r}, {len(found)}. Received: {blocks}. "
            "Use `from_layer` or `fraction` where blocks cannot be told by the layers' names."
        )
    return sorted(found.values())[-blocks]
