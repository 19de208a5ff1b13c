"""A small JSON file of remembered measurements; losing it costs time, never correctness."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from transferkit._utils.files import atomic_write


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, or an empty dict when it is missing, unreadable or not an object."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def update_json(path: Path, key: str, value: Any) -> None:
    """Set one key of a JSON file; a folder that cannot be written to is ignored."""
    with contextlib.suppress(OSError), atomic_write(path) as temporary:
        temporary.write_text(json.dumps({**read_json(path), key: value}), encoding="utf-8")
