"""The state of callbacks as plain values and arrays, so that a resumed run continues with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

_NOT_STATE = ("_model", "model", "params", "validation_data")


class _OpaqueError(Exception):
    """A value has a part that is neither plain nor an array."""


def callback_states(callbacks: Iterable[keras.callbacks.Callback]) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Return for each callback its attributes as values for JSON, and the arrays to which these refer.

    Attributes are numbers, strings, arrays, and lists, tuples and dicts of them, such as the patience that is used up
    and the best weights. Others, such as open files, are left out: `on_train_begin` makes them.
    """
    arrays: list[np.ndarray] = []
    states = []
    for callback in callbacks:
        state: dict[str, Any] = {"class": type(callback).__name__}
        for name, value in vars(callback).items():
            if name in _NOT_STATE:
                continue
            length = len(arrays)
            try:
                state[name] = _encode(value, arrays)
            except _OpaqueError:
                del arrays[length:]
        states.append(state)
    return states, arrays


def set_callback_states(
    callbacks: Iterable[keras.callbacks.Callback], states: list[dict[str, Any]], arrays: list[np.ndarray]
) -> None:
    """Set the attributes of callbacks to those that `callback_states` returned, in order within each class."""
    remaining = list(states)
    for callback in callbacks:
        state = next((state for state in remaining if state["class"] == type(callback).__name__), {})
        remaining = [other for other in remaining if other is not state]
        for name, value in state.items():
            if name != "class":
                setattr(callback, name, _decode(value, arrays))


def _encode(value: Any, arrays: list[np.ndarray]) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_encode(item, arrays) for item in value]}
    if type(value) is dict:
        return {"dict": [[_encode(key, arrays), _encode(item, arrays)] for key, item in value.items()]}
    raise _OpaqueError


def _decode(value: Any, arrays: list[np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return arrays[content]
    if kind == "dict":
        return {_decode(key, arrays): _decode(item, arrays) for key, item in content}
    items = [_decode(item, arrays) for item in content]
    return tuple(items) if kind == "tuple" else items
