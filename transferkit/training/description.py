"""Plain values that describe options, for the identity of a run in its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def describe(value: Any) -> Any:
    """Return a value of JSON types; objects of Keras become their class and configuration.

    Names are left out: Keras numbers them within a process, so the same script has others when it is run again in a
    notebook.
    """
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items() if key != "name"}
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    if hasattr(value, "get_config"):
        return [type(value).__name__, describe(value.get_config())]
    if isinstance(value, (str, int, float, type(None))):
        return value
    return getattr(value, "__name__", str(value))
