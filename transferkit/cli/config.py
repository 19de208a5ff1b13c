"""Files of option values: TOML and JSON are read, TOML is written."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transferkit._utils.checks import did_you_mean
from transferkit._utils.files import parse_json

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_NOT_IN_FILES = ("help", "config", "debug", "json", "resume", "overwrite")


def read_config(path: str, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return the options in a file, converted and checked as on the command line of `parser`.

    Raises:
        OSError: when the file cannot be read.
        ValueError: when it is not valid, or has an unknown option.
    """
    actions = {action.dest: action for action in parser._actions if action.dest not in _NOT_IN_FILES}
    values = {}
    for key, value in _read(Path(path)).items():
        name = key.replace("-", "_")
        if name not in actions:
            hint = did_you_mean(name, actions) or f"The options are {', '.join(actions)}."
            raise ValueError(f"An option in {path!r} must be one of the command. Received: {key!r}. {hint}")
        try:
            values[name] = _convert(actions[name], value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"`{name}` in {path!r} must be valid. Received: {value!r} ({error}).") from error
    return values


def to_toml(values: Mapping[str, Any]) -> str:
    """Return a TOML document of texts, numbers, booleans and lists of them.

    >>> print(to_toml({"data": "photos", "image_size": [160, 160], "keep_best": True}), end="")
    data = "photos"
    image_size = [160, 160]
    keep_best = true
    """
    return "".join(f"{_key(name)} = {_value(value)}\n" for name, value in values.items())


def _read(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    values = parse_json(text) if path.suffix == ".json" else tomllib.loads(text)
    if not isinstance(values, dict):
        raise ValueError(f"{str(path)!r} must have an object with options. Received: {type(values).__name__}.")
    return values


def _convert(action: argparse.Action, value: Any) -> Any:
    if isinstance(action, argparse.BooleanOptionalAction) or action.nargs == 0:
        if not isinstance(value, bool):
            raise TypeError("true or false is required")
        return value
    if action.nargs in ("+", "*"):
        return [_scalar(action, one) for one in (value if isinstance(value, list) else [value])]
    return _scalar(action, value)


def _scalar(action: argparse.Action, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError("text or a number is required")
    if action.choices is not None and value not in action.choices:
        raise ValueError(f"one of {', '.join(map(repr, action.choices))} is required")
    return action.type(str(value)) if callable(action.type) else str(value)


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, (int, float)):
        return repr(value)
    return _text(str(value))


def _text(text: str) -> str:
    """Return a basic string of TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub("[\x00-\x1f\x7f]", lambda found: f"\\u{ord(found[0]):04x}", escaped) + '"'
