"""Results on stdout, as text or JSON, and messages on stderr, with colors on a terminal only."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping
from typing import Any

from transferkit._utils.lazy import LazyModule

# Keras requires rich. It is imported on a terminal only, and respects NO_COLOR itself.
console: Any = LazyModule("rich.console")
text: Any = LazyModule("rich.text")


def result(arguments: argparse.Namespace, value: Any, shown: str) -> None:
    """Print a result to `arguments.stdout`: `value` as one line of JSON with --json, else the text `shown`."""
    stream = arguments.stdout
    line = json.dumps(plain(value), ensure_ascii=False, allow_nan=False) if arguments.json else shown
    # Names of files that are not Unicode, and terminals of another encoding, must not end the command.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def plain(value: Any) -> Any:
    """Return a value of plain types for JSON: a number that is not finite is None, a path is text."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def note(message: str) -> None:
    """Print a message that is no result."""
    _print(message, "")


def error(message: str) -> None:
    """Print the message of an error, red on a terminal."""
    _print(message, "red")


def verbosity(arguments: argparse.Namespace) -> int:
    """Return `verbose` for Keras: 1, a progress bar, or 2, lines without colors, on a terminal, else 0."""
    if arguments.json or not _is_terminal():
        return 0
    return 2 if os.environ.get("NO_COLOR") else 1


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _print(message: str, style: str) -> None:
    if _is_terminal():
        console.Console(stderr=True, soft_wrap=True).print(text.Text(message, style=style))
    else:
        print(message, file=sys.stderr, flush=True)
