"""The messages in docs/troubleshooting.md are those of the source."""

from __future__ import annotations

import ast
import re

from tests.documentation.pages import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"


def texts_of_source() -> str:
    """Return all strings of the package; parts that are formatted become {}."""
    texts = []
    for path in sorted((ROOT / "transferkit").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                texts.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
                )
    return "\n".join(texts)


def test_messages_are_those_of_the_source() -> None:
    messages = re.findall(r"^### `(.+)`$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(messages) > 25
    source = texts_of_source()
    assert [message for message in messages if message not in source] == []
