"""Runs the programs of examples/consumers in Node and in Chromium."""

from __future__ import annotations

import contextlib
import functools
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import TIMEOUT

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "consumers"
_INSTALL = ("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock")
# Errors of npm that come from package.json, and not from the network.
_MISTAKES = ("ETARGET", "ERESOLVE", "EJSONPARSE")
_TIMEOUT_MS = 1000 * TIMEOUT


def node() -> str:
    """Return the path of Node, or skip the test."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("Node is not installed")
    return path


def run_node(program: Path, *arguments: object) -> str:
    done = subprocess.run([node(), str(program), *map(str, arguments)], capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def install(folder: Path) -> Path:
    """Copy the examples into an empty folder and install their packages; skip where the network fails."""
    node()
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("node_modules"), dirs_exist_ok=True)
    try:
        done = subprocess.run(_INSTALL, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        pytest.skip("npm install takes longer than 300 seconds")
    assert not any(code in done.stderr for code in _MISTAKES), done.stderr
    if done.returncode:
        pytest.skip(f"npm install fails: {done.stderr.strip()[-300:]}")
    return folder


class Page:
    """The page that is open in Chromium.

    Attributes:
        requests: addresses that were requested.
        problems: errors and messages of the console.
    """

    def __init__(self, page: Any) -> None:
        self._page = page
        self.requests: list[str] = []
        self.problems: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.set_input_files = page.set_input_files

    def result_of(self, photo: Path) -> str:
        """Choose a photo and return the text of its result."""
        self._page.evaluate("document.getElementById('result').textContent = ''")
        self._page.set_input_files("#photo", str(photo))
        done = "() => /[0-9]{7}$|^Error/.test(document.getElementById('result').textContent)"
        self._page.wait_for_function(done, timeout=_TIMEOUT_MS)
        return self._page.text_content("#result")


@contextlib.contextmanager
def open_page(folder: Path, path: str) -> Iterator[Page]:
    """Serve a folder and open a page of it, which must request no other host and have no problem."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with _serve(folder) as address, playwright.sync_playwright() as running:
        options = ["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
        browser = running.chromium.launch(executable_path=chromium, args=options)
        opened = browser.new_page()
        page = Page(opened)
        opened.goto(f"http://{address}{path}")
        yield page
        browser.close()
    assert page.requests
    assert [url for url in page.requests if not url.startswith((f"http://{address}/", "data:"))] == []
    assert page.problems == []


@contextlib.contextmanager
def _serve(folder: Path) -> Iterator[str]:
    handler = functools.partial(_QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass
