"""The pages in a browser: pictures, sorting, filters, the map, and no request.

They need Chromium and the package playwright: `python -m pytest -m slow tests/pages`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transferkit.pages import MapPoints, Page, thumbnails

pytestmark = pytest.mark.slow
HOSTILE = "<script>document.title = 'changed'</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as running:
        options = ["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
        launched = running.chromium.launch(executable_path=chromium, args=options)
        yield launched
        launched.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[tuple[Any, list[str]]]:
    """The page in the browser, and the addresses that it requests."""
    pictures = thumbnails([np.full((9, 9, 3), 28 * index, np.uint8) for index in range(9)])
    rows = [[picture, f"name {index}", 10 - index] for index, picture in enumerate(pictures)]
    rows[3][1] = HOSTILE
    points = MapPoints(
        np.arange(18.0).reshape(9, 2),
        [HOSTILE, *(f"image {index}" for index in range(1, 9))],
        [picture.uri for picture in pictures],
        {"label": ["a", HOSTILE, "c"] * 3, "mistake": ["yes"] + ["no"] * 8},
    )
    Page("Images").heading("Table").table(["image", "name", "number"], rows).heading("Map").map(points).write(
        tmp_path / "page.html"
    )
    page = browser.new_page()
    requests: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    yield page, requests
    assert problems == []
    page.close()


def cells(page: Any, column: int) -> list[str]:
    return page.eval_on_selector_all(
        f"tbody tr:not([hidden]) td:nth-child({column})", "cells => cells.map(cell => cell.textContent)"
    )


def test_page_makes_no_request_and_shows_pictures(opened) -> None:
    page, requests = opened
    assert all(url.startswith(("file:", "data:")) for url in requests)
    assert page.eval_on_selector_all("table img", "all => all.map(one => one.naturalWidth)") == [96] * 9
    assert page.title() == "Images" and HOSTILE in cells(page, 2)


def test_table_sorts_numbers_and_texts(opened) -> None:
    page, _ = opened
    page.click("th:nth-child(3) button")
    assert cells(page, 3) == [str(number) for number in range(2, 11)]
    page.click("th:nth-child(3) button")
    assert cells(page, 3) == [str(number) for number in range(10, 1, -1)]
    assert page.get_attribute("th:nth-child(3)", "aria-sort") == "descending"
    page.click("th:nth-child(2) button")
    assert cells(page, 2)[:2] == [HOSTILE, "name 0"]


def test_table_filters_rows(opened) -> None:
    page, _ = opened
    page.fill("input.filter", "NAME 7")
    assert cells(page, 2) == ["name 7"]
    page.fill("input.filter", "")
    assert len(cells(page, 2)) == 9


def test_map_shows_image_and_changes_colors(opened) -> None:
    page, _ = opened
    page.hover("circle[data-index='0']")
    assert page.inner_text(".tip") == HOSTILE and page.is_visible(".tip img")
    assert page.eval_on_selector(".tip img", "image => image.naturalWidth") == 96
    fills = page.eval_on_selector_all("circle", "all => all.map(one => one.getAttribute('fill'))")
    assert len(set(fills)) == 3 and fills[0] == fills[3]
    assert HOSTILE in page.inner_text(".legend")
    page.select_option("select", "mistake")
    fills = page.eval_on_selector_all("circle", "all => all.map(one => one.getAttribute('fill'))")
    assert len(set(fills[1:])) == 1 and fills[0] != fills[1]
