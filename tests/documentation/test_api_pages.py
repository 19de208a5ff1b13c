"""Each public name is on a page of the API reference, with its arguments, defaults and an example."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from typing import Any

import pytest

import transferkit as tk
from tests.documentation.pages import ROOT

ENTRIES = {
    name: page.name
    for page in sorted((ROOT / "docs" / "api").glob("*.md"))
    for name in re.findall(r"^::: transferkit\.([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
}
INDEX = (ROOT / "docs" / "api" / "index.md").read_text(encoding="utf-8")


def resolve(name: str) -> Any:
    """Return the object of a dotted name in the package."""
    value: Any = tk
    for part in name.split("."):
        if not hasattr(value, part):
            value = __import__(f"{value.__name__}.{part}", fromlist=["_"])
        else:
            value = getattr(value, part)
    return value


def public_callables() -> dict[str, Any]:
    """Return the names of the package, and those of its public modules, without modules and the version."""
    found = {}
    for name in tk.__all__:
        value = getattr(tk, name)
        if isinstance(value, types.ModuleType):
            listed = getattr(value, "__all__", ("clear", "info"))
            found |= {f"{name}.{inner}": getattr(value, inner) for inner in listed if callable(getattr(value, inner))}
        elif callable(value):
            found[name] = value
    return found


def test_each_public_name_has_an_entry() -> None:
    documented = {id(resolve(name)) for name in ENTRIES}
    missing = [name for name, value in public_callables().items() if id(value) not in documented]
    assert missing == []


def test_index_links_to_each_entry() -> None:
    missing = [name for name, page in ENTRIES.items() if f"({page}#transferkit.{name})" not in INDEX]
    assert missing == []
    assert "`transferkit.__version__`" in INDEX


def public_functions() -> dict[str, Any]:
    """Return the functions, and the methods of the classes, that the API reference lists."""
    found = {}
    for name in ENTRIES:
        value = resolve(name)
        if not inspect.isclass(value):
            found[name] = value
            continue
        found[name] = value
        for member, raw in inspect.getmembers_static(value):
            function = raw.__func__ if isinstance(raw, (classmethod, staticmethod)) else raw
            defined_here = str(getattr(function, "__module__", "")).startswith("transferkit")
            if not member.startswith("_") and inspect.isfunction(function) and defined_here:
                found[f"{name}.{member}"] = function
    return found


FUNCTIONS = public_functions()


def arguments(value: Any) -> list[inspect.Parameter]:
    """Return the arguments that a user gives."""
    if inspect.isclass(value) and issubclass(value, Exception):
        return []
    function = value.__init__ if inspect.isclass(value) and not dataclasses.is_dataclass(value) else value
    parameters = inspect.signature(function).parameters.values()
    skipped = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [one for one in parameters if one.name not in ("self", "cls") and one.kind not in skipped]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_are_documented(name: str) -> None:
    value = FUNCTIONS[name]
    text = inspect.getdoc(value) or ""
    assert text, name
    entries = set(re.findall(r"^ +((?:\w+, )*\w+):", text, re.MULTILINE))
    described = {one for entry in entries for one in entry.split(", ")}
    mentioned = set(re.findall(r"`(\w+)`", text))
    missing = [one.name for one in arguments(value) if one.name not in described | mentioned]
    assert missing == []


@pytest.mark.parametrize(
    "name", [name for name, value in FUNCTIONS.items() if "Args:" in (inspect.getdoc(value) or "")]
)
def test_defaults_are_documented(name: str) -> None:
    value = FUNCTIONS[name]
    entries = (inspect.getdoc(value) or "").partition("Args:")[2]
    missing = []
    for argument in arguments(value):
        entry = re.search(rf"^    (?:\w+, )*{argument.name}(?:, \w+)*:(.*(?:\n     .*)*)", entries, re.MULTILINE)
        words = re.sub(r"\s+", " ", entry[1]) if entry else ""
        described = bool(re.search("Defaults? to| as in ", words))
        if argument.default is not inspect.Parameter.empty and not described:
            missing.append(argument.name)
    assert missing == []


@pytest.mark.parametrize("name", list(public_callables()))
def test_public_name_has_an_example(name: str) -> None:
    text = inspect.getdoc(public_callables()[name]) or ""
    assert ">>> " in text, name
