"""The page in a browser: a photo is dropped, its class is shown, and no other host is requested.

Needs Chromium and the package playwright: `python -m pytest -m slow tests/serving`.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import transferkit as tk
from tests.serving.conftest import Running, Serve
from tests.waiting import TIMEOUT, wait_until
from transferkit.prediction import Predictor
from transferkit.saving import save_classifier

pytestmark = pytest.mark.slow
HOSTILE = "<script>document.title = 'changed'</script>"
CLASSES = [HOSTILE, "dogs"]
DROP = """async (text) => {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
    document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
}"""
WIDTHS = "all => all.map(one => one.width)"
IS_DRAWN = """all => all.map(one => {
    const values = one.getContext("2d").getImageData(0, 0, one.width, one.height).data;
    return new Set(values).size > 20;
})"""


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    backbone = tk.BackboneFactory.create("EfficientNetLite0", input_shape=(160, 160, 3))
    model = tk.build_classifier(backbone, tk.ClassifierHead(2))
    predictor = Predictor(model, CLASSES, tk.ImageSpec((160, 160)), activation="sigmoid")
    return save_classifier(tmp_path_factory.mktemp("saved") / "pets", predictor)


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """Open addresses in pages, which must have no problem and request no other host."""
    pages: list[tuple[Any, str, list[str], list[str]]] = []

    def open_page(running: Running, path: str = "/") -> Any:
        page = browser.new_page()
        requests: list[str] = []
        problems: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        address = f"127.0.0.1:{running.port}"
        pages.append((page, address, requests, problems))
        page.goto(f"http://{address}{path}")
        return page

    yield open_page
    for page, address, requests, problems in pages:
        assert requests and {urlsplit(url).netloc for url in requests} == {address}
        # The browser itself logs failed requests, as that for an icon.
        assert [text for text in problems if "status of 4" not in text] == []
        page.close()


@pytest.fixture
def photo(photos: Path) -> Path:
    return min((photos / "validation" / "cats").iterdir())


def test_photo_shows_class_heat_map_and_training_images(
    run: Serve, opened: Any, folder: Path, photos: Path, photo: Path, tmp_path: Path
) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        for path in sorted((photos / "train" / name).iterdir())[:8]:
            (tmp_path / name / path.name).symlink_to(path)
    running = run({"pets": folder}, training_images=tmp_path)
    wait_until(lambda: running.service.store.get(None).neighbors.ready)
    page = opened(running)
    page.set_input_files("#file", str(photo))
    page.wait_for_selector("#neighbors canvas:nth-child(1)", timeout=1000 * TIMEOUT)
    page.wait_for_selector("#heat-map-figure:not([hidden])", timeout=1000 * TIMEOUT)
    assert page.inner_text("#label").rpartition(" ")[0] in CLASSES
    assert set(
        page.eval_on_selector_all("#probabilities td:first-child", "all => all.map(one => one.textContent)")
    ) == (set(CLASSES))
    assert page.eval_on_selector_all("#heat-map", WIDTHS) == [160]
    assert page.eval_on_selector_all("#neighbors canvas", WIDTHS) == [96] * 5
    assert all(page.eval_on_selector_all("#photo, #heat-map, #neighbors canvas", IS_DRAWN))
    assert page.title() == "transferkit" and page.inner_text("#error") == ""


def test_dropped_photo_and_unreadable_file(run: Serve, opened: Any, folder: Path, photo: Path, tmp_path: Path) -> None:
    page = opened(run({"pets": folder}))
    page.evaluate(DROP, base64.b64encode(photo.read_bytes()).decode())
    page.wait_for_selector("#heat-map-figure:not([hidden])", timeout=1000 * TIMEOUT)
    assert page.is_hidden("#neighbors-section") and page.is_hidden("#model-choice")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:2000])
    page.set_input_files("#file", str(broken))
    page.wait_for_selector("#error:has-text('truncated')")
    assert page.is_hidden("#result")


def test_api_key_is_requested(run: Serve, opened: Any, folder: Path, photo: Path) -> None:
    page = opened(run({"pets": folder}, api_keys=("secret",)))
    page.wait_for_selector("#key-choice:not([hidden])")
    page.fill("#key", "secret")
    page.set_input_files("#file", str(photo))
    page.wait_for_selector("#heat-map-figure:not([hidden])", timeout=1000 * TIMEOUT)


def test_page_of_openapi(run: Serve, opened: Any, folder: Path) -> None:
    page = opened(run({"pets": folder}), "/docs")
    assert "POST /v1/predict" in page.inner_text("body")
    page.click("text=Page for photos")
    assert page.inner_text("h1") == "Image classification"
