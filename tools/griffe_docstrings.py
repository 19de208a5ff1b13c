"""Extension of Griffe: docstrings of this package as its Google style expects them.

Examples follow "Example:" without indentation, and one line may describe several parameters or attributes.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^(?:Examples?:\n\n)?(?P<code>>>> .*(?:\n.+)*)", re.MULTILINE)
_SKIP = re.compile(r" *# doctest: \+[A-Z_]+")

_NAMES = re.compile(r"^(?P<indent> +)(?P<names>\w+(?:, \w+)+): (?P<text>.*(?:\n(?P=indent) +.*)*)", re.MULTILINE)


def as_entries(docstring: str) -> str:
    """Return the text with one entry for each name of "first, second: text"."""

    def entries(match: re.Match[str]) -> str:
        return "\n".join(f"{match['indent']}{name}: {match['text']}" for name in match["names"].split(", "))

    return _NAMES.sub(entries, docstring)


def as_section(docstring: str) -> str:
    """Return the text with each example as an indented section "Examples", without options of doctest."""

    def section(match: re.Match[str]) -> str:
        return "Examples:\n" + textwrap.indent(_SKIP.sub("", match["code"]), "    ")

    return _EXAMPLE.sub(section, docstring)


class Docstrings(griffe.Extension):
    """Rewrites the docstrings of all objects."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = as_section(as_entries(obj.docstring.value))
