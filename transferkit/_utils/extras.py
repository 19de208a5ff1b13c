"""Optional packages, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from transferkit.errors import MissingExtraError


def import_extra(module: str, feature: str, package: str, extra: str) -> Any:
    """Return a module of an optional package; `feature` requires it.

    Raises:
        MissingExtraError: when the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(feature, package, extra) from error
