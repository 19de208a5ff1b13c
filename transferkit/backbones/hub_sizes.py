"""KerasHub backbones for another image size, with interpolated position embeddings."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from transferkit.modeling.keras_graph import all_layers, own_variables
from transferkit.modeling.token_grid import MAX_PREFIX, TokenGrid

# Arguments of KerasHub backbones for the shape of the images.
_SHAPE_KEYS = ("image_shape", "input_shape")


def with_image_shape(tower: Any, shape: tuple[int, int, int]) -> Any:
    """Return a KerasHub backbone with the weights of `tower` for images of `shape`.

    Position embeddings of patches are interpolated: bicubic, with antialiasing, as in timm.

    Raises:
        ValueError: if the architecture does not support the shape.
    """
    config = keras.saving.serialize_keras_object(tower)
    key = next((key for key in _SHAPE_KEYS if key in config["config"]), None)
    if key is None:
        raise _unsupported(tower, shape, "its configuration has no image size")
    try:
        resized = keras.saving.deserialize_keras_object({**config, "config": {**config["config"], key: shape}})
    except Exception as error:  # checks of KerasHub and of Keras
        raise _unsupported(tower, shape, str(error).strip().partition("\n")[0]) from error
    for source, target in zip(_unique(tower), _unique(resized)):
        _copy(source, target, (tower, shape))
    return resized


def _unique(model: Any) -> list[Any]:
    return list({id(layer): layer for layer in [*all_layers(model)]}.values())


def _copy(source: Any, target: Any, context: tuple[Any, tuple[int, int, int]]) -> None:
    """Assign the variables of a layer itself to those of the layer for another image size."""
    if not own_variables(source):
        return
    store: dict[str, Any] = {}
    source.save_own_variables(store)
    try:
        # Some layers of KerasHub interpolate here themselves.
        target.load_own_variables({name: np.asarray(value) for name, value in store.items()})
        return
    except ValueError:
        pass
    for old, new in zip(own_variables(source), own_variables(target)):
        if old.shape == new.shape:
            new.assign(old)
        elif keras.backend.is_float_dtype(new.dtype):
            new.assign(_interpolated(np.asarray(old), tuple(new.shape), source, context))


def _interpolated(values: np.ndarray, shape: tuple[int, ...], layer: Any, context: Any) -> np.ndarray:
    """Return position embeddings (tokens, channels) or (1, tokens, channels) of another grid."""
    tower, image_shape = context
    tokens, channels = values.shape[-2:]
    before = _grid(tower, tokens, tower.inputs[0].shape[1:3])
    after = _grid(tower, shape[-2], image_shape[:2])
    if values.ndim > 3 or before is None or after is None or before.prefix != after.prefix:
        what = f"the weights {values.shape} of its layer {layer.name!r} depend on the size"
        raise _unsupported(tower, image_shape, what)
    flat = values.reshape(tokens, channels)
    grid = flat[before.prefix :].reshape(before.rows, before.columns, channels)
    resized = keras.ops.image.resize(grid, (after.rows, after.columns), "bicubic", antialias=True)
    patches = np.asarray(resized).reshape(-1, channels)
    return np.concatenate([flat[: before.prefix], patches]).reshape(shape)


def _grid(tower: Any, tokens: int, size: Any) -> TokenGrid | None:
    """Return the grid of a table with one row per token, or None for another table."""
    patch = getattr(tower, "patch_size", None)
    patch = (patch, patch) if isinstance(patch, int) else patch
    if not isinstance(patch, (tuple, list)):
        return None
    rows, columns = (side // part for side, part in zip(size, patch))
    prefix = tokens - rows * columns
    return TokenGrid(prefix, rows, columns) if 0 <= prefix <= MAX_PREFIX else None


def _unsupported(tower: Any, shape: Any, reason: str) -> ValueError:
    own = tuple(tower.inputs[0].shape[1:])
    return ValueError(
        f"`input_shape` must be one that {type(tower).__name__} supports. Received: {tuple(shape)}: "
        f"{reason.rstrip('.')}. Use the size of the preset, {own}."
    )
