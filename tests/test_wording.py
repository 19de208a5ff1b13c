"""Docstrings, comments, messages and documentation use the words of the field."""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Literary words, and words for which the field has another: "image" for "photograph", "report" for "tell".
AVOIDED = re.compile(
    r"\b(anew|besides?|redrawn|untold|thrown away|taken up|worked out|works out|given up|left aside|set aside|"
    r"held out images|held against|of its own|one's own|as it is|as they are|as it was|as they were|without a word|"
    r"asked for|looked at|looks at|wherever|hardly|nobody|strangers?|mends?|mended|the like|at hand|to be had|"
    r"comes? to lie|makes? of|way of one|stands|stood|told|tells|says|gave|draws|drawn|lay|"
    r"thereby|whereby|hence|upon|whilst|amongst|thereof|henceforth|beautiful|blazing|seamless(?:ly)?|effortless(?:ly)?)\b",
    re.IGNORECASE,
)
# Fine now and then, a habit when frequent: the number of uses that is allowed in the project.
LIMITED = {"photograph": 3, "photographs": 5, "what is": 10, "whatever": 3, "said": 2, "wanted": 3, "lies": 2}
# British spellings of words that the code base uses.
BRITISH = re.compile(
    r"\b(colou?red|colours?|behaviours?|normalis\w+|initialis\w+|optimis\w+|serialis\w+|organis\w+|recognis\w+|"
    r"centres?|grey|neighbours?|labelled|labelling|modelling|cancelled|favour\w*|whilst)\b(?<!colored)",
    re.IGNORECASE,
)


def python_texts(path: Path) -> list[tuple[int, str]]:
    """Return (line, text) of each comment, and of each string that is a docstring or has a sentence."""
    source = path.read_text(encoding="utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    texts = [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count(" ") >= 2:
            texts += [(node.lineno + offset, line) for offset, line in enumerate(node.value.splitlines())]
    return texts


@functools.cache
def texts_of_project() -> list[tuple[str, str]]:
    """Return (file:line, text) of the package, its examples, benchmarks and documentation."""
    texts = []
    for folder in ("transferkit", "examples", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            texts += [(f"{path.relative_to(ROOT)}:{line}", text) for line, text in python_texts(path)]
    for path in [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CHANGELOG.md"]:
        lines = path.read_text(encoding="utf-8").splitlines()
        texts += [(f"{path.relative_to(ROOT)}:{number}", line) for number, line in enumerate(lines, 1)]
    assert len(texts) > 1000
    return texts


@pytest.mark.parametrize("pattern", [AVOIDED, BRITISH], ids=["avoided", "british"])
def test_texts_use_words_of_field(pattern: re.Pattern[str]) -> None:
    found = [f"{place}: {match[0]}" for place, text in texts_of_project() for match in pattern.finditer(text)]
    assert found == []


def test_limited_words_are_rare() -> None:
    texts = " ".join(text.lower() for _, text in texts_of_project())
    uses = {word: len(re.findall(rf"\b{word}\b", texts)) for word in LIMITED}
    assert {word: count for word, count in uses.items() if count > LIMITED[word]} == {}


def test_word_list_finds_words_in_docstrings_and_comments(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""Draws a picture anew."""\n\nVALUE = 1  # nobody mends this\n', encoding="utf-8")
    found = [match[0].lower() for _, text in python_texts(module) for match in AVOIDED.finditer(text)]
    assert sorted(found) == ["anew", "draws", "mends", "nobody"]
