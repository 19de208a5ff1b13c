"""Self-contained pages."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from transferkit.pages import Page, Picture, plot_picture, thumbnails
from transferkit.pages.maps import MapPoints
from transferkit.plots import learning_curves

HOSTILE = "<script>alert(1)</script>"


class Elements(HTMLParser):
    """Collects the elements of a page and the text outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_page_escapes_all_text():
    points = MapPoints(np.array([[0.0, 1.0]]), [HOSTILE], [""], {HOSTILE: [HOSTILE]})
    page = Page(HOSTILE).heading(HOSTILE).text(HOSTILE).table([HOSTILE], [[HOSTILE]]).map(points)
    page.pictures([Picture("", HOSTILE)]).figure(Picture(f'"><{HOSTILE}', ""))
    assert HOSTILE not in page.to_html()
    assert len(Elements(page.to_html()).named("script")) == 2
    # Title (twice), heading with its link, paragraph, header and cell of the table, coloring, caption.
    assert Elements(page.to_html()).text.count(HOSTILE) == 9


def test_page_text_is_no_template():
    page = Page("{{script}}").text("{{body}} {{unknown}}").to_html()
    assert "<h1>{{script}}</h1>" in page and "<p>{{body}} {{unknown}}</p>" in page


def test_page_policy_allows_its_script_alone():
    page = Page("Images").to_html()
    [script] = re.findall(r"<script>(.*)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page
    assert not re.search(r"https?://", page)


def test_table_cells_have_values_for_sorting():
    page = Page("Images").table(["name", "count", "share"], [["a", 1200, (0.25, "25 %")]]).to_html()
    assert '<td class="number" data-value="1200.0">1,200</td>' in page
    assert '<td class="number" data-value="0.25">25 %</td>' in page
    assert page.count('<th class="number">') == 2


@pytest.mark.parametrize(("rows", "filters"), [(0, 0), (7, 0), (8, 1)])
def test_table_with_many_rows_has_filter(rows, filters):
    page = Elements(Page("Images").table(["name"], [[str(row)] for row in range(rows)]).to_html())
    assert len([attributes for attributes in page.named("input") if attributes["data-table"] == "table-1"]) == filters


def test_map_points_stay_inside():
    points = MapPoints(np.array([[-5.0, 0.0], [5.0, 0.0]]), ["a", "b"], ["", ""], {"label": ["x", "y"]})
    circles = Elements(Page("Map").map(points).to_html()).named("circle")
    assert [(circle["cx"], circle["cy"]) for circle in circles] == [("12.0", "488.0"), ("788.0", "488.0")]


def test_map_data_name_groups_by_index():
    points = MapPoints(np.zeros((3, 2)), ["a", "b", "c"], ["", "data:,", ""], {"label": ["dog", "cat", "dog"]})
    [data] = re.findall(r'<script type="application/json">(.*?)</script>', Page("Map").map(points).to_html())
    values = json.loads(data)
    assert values["points"][1] == {"text": "b", "image": "data:,"}
    assert values["colorings"][0]["names"] == ["cat", "dog"] and values["colorings"][0]["groups"] == [1, 0, 1]


def test_thumbnails_of_unreadable_file_keep_caption(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    first, second = thumbnails([str(tmp_path / "a.jpg"), np.zeros((4, 8, 3), np.uint8)], ["a", "b"])
    assert first == Picture("", "a") and second.uri.startswith("data:image/jpeg;base64,") and second.caption == "b"


def test_plot_picture_is_png():
    uri = plot_picture(lambda file: learning_curves([{"loss": [1.0, 0.5]}], file)).uri
    assert base64.b64decode(uri.partition(",")[2]).startswith(b"\x89PNG")


def test_caption_lines_stay_lines():
    assert "<figcaption>a<br>b &amp; c</figcaption>" in Page("x").figure(Picture("", "a\nb & c")).to_html()
