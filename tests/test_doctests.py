"""The examples in docstrings are run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import transferkit

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(transferkit.__path__, "transferkit.")
    if "__main__" not in module.name
)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(
        module, extraglobs={"np": importlib.import_module("numpy")}, optionflags=doctest.ELLIPSIS
    )
    assert failed == 0
