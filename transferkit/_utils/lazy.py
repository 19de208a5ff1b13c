"""Public names of a package that are imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from transferkit._utils.checks import did_you_mean


def lazy_getattr(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module-level `__getattr__` for `package`.

    Args:
        package: name of the package.
        modules: public name -> module inside the package that defines it. A name that is its own module is that module.
    """

    def get(name: str) -> Any:
        if name not in modules:
            hint = did_you_mean(name, modules)
            raise AttributeError(f"module {package!r} has no attribute {name!r}{'. ' + hint if hint else ''}")
        module = importlib.import_module(f"{package}.{modules[name]}")
        value = module if modules[name] == name else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return get


class LazyModule:
    """A module that is imported when one of its attributes is first used, because it is slow to import or optional.

    Args:
        name: of the module.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)
