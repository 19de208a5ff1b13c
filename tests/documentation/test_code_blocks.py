"""Code blocks run as they are printed: those of one page in order, in one namespace."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from tests.documentation.pages import PAGES, ROOT, Block, code_blocks, name_of

# These run with the default tests; the others take seconds to minutes each.
FAST = ("docs/guides/custom_backbone.md", "docs/troubleshooting.md")
# Translations have the code of the original, which a test compares.
WITH_CODE = [page for page in PAGES if code_blocks(page) and page.parent.name != "zh"]
PARAMETERS = [
    pytest.param(page, id=name_of(page), marks=() if name_of(page) in FAST else pytest.mark.slow) for page in WITH_CODE
]


@pytest.mark.parametrize("page", PARAMETERS)
def test_code_blocks_run(page: Path, working_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("__page__")
    monkeypatch.setitem(sys.modules, "__page__", module)
    ran = [run(block, module.__dict__) for block in code_blocks(page) if not (block.library or block.missing)]
    assert ran or all(block.library or block.missing for block in code_blocks(page))


def run(block: Block, namespace: dict[str, Any]) -> Block:
    exec(block.compile(), namespace)
    return block


def test_all_code_blocks_compile() -> None:
    blocks = [block for page in PAGES for block in code_blocks(page)]
    assert len(blocks) > 40
    for block in blocks:
        block.compile()


def test_fast_pages_exist() -> None:
    assert set(FAST) <= {name_of(page) for page in WITH_CODE}


def test_translations_have_the_same_code() -> None:
    translations = sorted((ROOT / "docs" / "zh").glob("*.md"))
    assert [page.name for page in translations] == ["getting_started.md", "tutorial.md"]
    for page in translations:
        original = page.parents[1] / page.name
        assert [block.code for block in code_blocks(page)] == [block.code for block in code_blocks(original)]
