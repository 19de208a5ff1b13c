"""Links between pages, and to files of the repository, exist; so do the anchors."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from tests.documentation.pages import PAGES, ROOT, links, name_of, prose

_HEADING = re.compile(r"^#{1,6} +(?P<text>.+?)\s*$", re.MULTILINE)
_NAME = re.compile(r"^::: (?P<name>[\w.]+)$", re.MULTILINE)
ALL = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "RESULTS.md"]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page: its headings, as GitHub and the site name them, and its API entries."""
    text = page.read_text(encoding="utf-8")
    headings = {
        slug(match["text"]) for match in _HEADING.finditer(re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M))
    }
    return headings | {match["name"] for match in _NAME.finditer(text)}


def slug(heading: str) -> str:
    """Return the anchor of a heading."""
    text = unicodedata.normalize("NFC", heading.replace("`", "")).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_links_exist(page: Path) -> None:
    missing = []
    for link in links(page):
        target, _, anchor = link.partition("#")
        if target.startswith(("https://", "http://")):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            missing.append(link)
    assert missing == []


def test_navigation_has_each_page_once() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    listed = re.findall(r"[\w/]+\.md", navigation)
    expected = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.name != "README.md"]
    assert sorted(listed) == sorted([*expected, "CHANGELOG.md", "benchmarks/RESULTS.md"])


def test_files_that_pages_name_exist() -> None:
    named = {
        (name_of(page), name)
        for page in PAGES
        for name in re.findall(r"`((?:examples|benchmarks|tests|tools)/[\w./]+)`", prose(page))
    }
    assert len(named) > 10
    assert [entry for entry in sorted(named) if not (ROOT / entry[1]).exists()] == []
