"""Imports TensorFlow without the messages that it prints before any setting can hide them."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_STDERR = 2


def import_quietly(name: str) -> None:
    """Hide what a module prints on stderr when it is imported, unless it was imported before; a failure shows it."""
    if name not in sys.modules and not any(isinstance(finder, QuietImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, QuietImport(name))


class QuietImport(importlib.abc.MetaPathFinder):
    """Finds a module once, for `sys.meta_path`; its messages on stderr during the import appear after a failure only.

    Args:
        name: of the module.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the other finders return, with another loader."""
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _QuietLoader(spec.loader)
        return spec


class _QuietLoader(importlib.abc.Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        with _hidden_stderr():
            self._loader.exec_module(module)


@contextlib.contextmanager
def _hidden_stderr() -> Iterator[None]:
    """Hide what the process writes to stderr, also in C++; print it when an exception ends the context."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as hidden:
        kept = os.dup(_STDERR)
        os.dup2(hidden.fileno(), _STDERR)
        try:
            yield
        except BaseException:
            os.dup2(kept, _STDERR)
            hidden.seek(0)
            os.write(_STDERR, hidden.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, _STDERR)
            os.close(kept)
