"""The site: a strict build without a warning, entries of the API, and its pages in a browser.

The pages need Chromium and the package playwright: `python -m pytest -m slow tests/documentation`.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.documentation.pages import ROOT
from tests.documentation.test_api_pages import FUNCTIONS
from tests.waiting import TIMEOUT

pytest.importorskip("mkdocs", reason="needs the extra `docs`")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return folder


def test_each_public_member_has_an_entry(site: Path) -> None:
    entries = {
        entry
        for page in (site / "api").glob("*.html")
        for entry in re.findall(r'id="transferkit\.([\w.]+)"', page.read_text(encoding="utf-8"))
    }
    assert len(FUNCTIONS) > 150
    assert [name for name in FUNCTIONS if name not in entries] == []


def test_examples_of_docstrings_are_code(site: Path) -> None:
    for page in (site / "api").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "doctest:" not in text, page.name
        # Without the extension, lines that begin with ">>>" are nested quotations.
        assert "<blockquote>" not in text, page.name


def test_translations_declare_their_language(site: Path) -> None:
    assert '<html lang="zh-Hans"' in (site / "zh" / "tutorial.html").read_text(encoding="utf-8")
    assert '<html lang="en"' in (site / "tutorial.html").read_text(encoding="utf-8")


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a free port of this machine."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Write no log."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


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


WIDTH = "document.documentElement.scrollWidth"
# Cells whose text has less than 40 pixels for more than 20 characters are columns of letters.
NARROW = """Array.from(document.querySelectorAll('.md-typeset td'))
  .filter(cell => cell.innerText.length > 20 && cell.clientWidth < 40).length"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_and_request_no_other_host(site: Path, browser: Any, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    requests: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    with served(site) as address:
        names = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
        assert len(names) > 40
        wide, narrow = [], []
        for name in names:
            page.goto(f"{address}/{name}")
            if page.evaluate(WIDTH) > width:
                wide.append(name)
            if page.evaluate(NARROW):
                narrow.append(name)
        assert wide == [] and narrow == []
        assert problems == []
        assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
    page.close()


@pytest.mark.slow
def test_search_finds_a_page(site: Path, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    with served(site) as address:
        page.goto(f"{address}/index.html")
        page.fill("input[name=query]", "calibration")
        page.wait_for_selector(".md-search-result__item a")
        assert page.locator(".md-search-result__item a").first.get_attribute("href").startswith(address)
    page.close()
