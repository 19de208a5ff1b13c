"""The HTML page of a report."""

from __future__ import annotations

import shutil

from transferkit.data import scan


def test_to_html_has_thumbnails_and_escapes_names(folder, tmp_path):
    shutil.copy(folder / "cats" / "cat.0.jpg", folder / "cats" / "<b>&.jpg")
    shutil.copy(folder / "cats" / "cat.0.jpg", folder / "cats" / "\x1b[2J.jpg")
    scan(folder).to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page.count("data:image/jpeg;base64,") >= 2
    assert "\\x1b[2J.jpg" in page and "\x1b" not in page
    assert "&lt;b&gt;&amp;.jpg" in page and "<b>&.jpg" not in page
