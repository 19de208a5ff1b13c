"""Tables as text, Markdown and HTML."""

from __future__ import annotations

from transferkit._utils.tables import Html, html_table, markdown_table, text_table

ROWS = [["name", "MB"], ["MobileNetV2", "14"], ["VGG16", "528"]]


def test_text_table_aligns_columns() -> None:
    assert text_table(ROWS, "<>").splitlines() == ["name          MB", "MobileNetV2   14", "VGG16        528"]


def test_text_table_has_no_trailing_spaces() -> None:
    assert text_table([["a", ""], ["b", "text"]], "<<").splitlines() == ["a", "b  text"]


def test_text_table_without_rows_is_empty() -> None:
    assert text_table([], "<>") == ""


def test_markdown_table_escapes_pipes() -> None:
    assert markdown_table(["a"], [["b|c"]]).splitlines() == ["| a |", "| --- |", "| b\\|c |"]


def test_html_table_escapes_cells_and_header() -> None:
    table = html_table([["<script>", Html("<img>")]], ["a & b", "c"])
    assert "<thead><tr><th>a &amp; b</th><th>c</th></tr></thead>" in table
    assert "<td>&lt;script&gt;</td><td><img></td>" in table


def test_html_table_without_header_has_no_head() -> None:
    assert html_table(iter(ROWS)).startswith("<table><tbody><tr><td>name</td>")
