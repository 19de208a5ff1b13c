"""Extension of Griffe: the examples of docstrings, which follow "Example:" without indentation, become a section."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^Example:\n\n(?P<code>(?:>>>|\.\.\.).*(?:\n.+)*)", re.MULTILINE)
_SKIP = re.compile(r" *# doctest: \+[A-Z_]+")


def as_section(docstring: str) -> str:
    """Return the text with each example as an indented section "Examples", without options of doctest."""

    def section(match: re.Match[str]) -> str:
        return "Examples:\n" + textwrap.indent(_SKIP.sub("", match["code"]), "    ")

    return _EXAMPLE.sub(section, docstring)


class Examples(griffe.Extension):
    """Rewrites the docstrings of all objects."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = as_section(obj.docstring.value)
