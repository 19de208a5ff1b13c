"""A self-contained HTML page: it makes no request, and all text is escaped."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transferkit._utils.files import atomic_write
from transferkit._utils.text import escape_html
from transferkit.pages.maps import MapPoints, map_html
from transferkit.pages.pictures import Picture
from transferkit.pages.tables import Cell, picture_html, table_html

if TYPE_CHECKING:
    from typing_extensions import Self

_FOLDER = Path(__file__).parent


class Page:
    """The sections of a page, written by `write`; each method adds to the end and returns the page."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts: list[str] = []
        self._headings: list[str] = []
        self._tables = 0

    def heading(self, text: str) -> Self:
        """Add the heading of a section, to which the top of the page links."""
        self._headings.append(text)
        self._parts.append(f'<h2 id="section-{len(self._headings)}">{escape_html(text)}</h2>')
        return self

    def text(self, text: str) -> Self:
        """Add a paragraph."""
        self._parts.append(f"<p>{escape_html(text)}</p>")
        return self

    def table(self, header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Self:
        """Add a table, sortable by each column and with a filter where it has many rows.

        A cell is text, a number, a `Picture` or a list of pictures; an integer or a float with its text is a tuple
        (number, text).
        """
        self._tables += 1
        self._parts.append(table_html(f"table-{self._tables}", header, list(rows)))
        return self

    def pictures(self, pictures: Iterable[Picture]) -> Self:
        """Add images in rows, each with its caption."""
        self._parts.append(f'<div class="gallery">{"".join(map(picture_html, pictures))}</div>')
        return self

    def figure(self, picture: Picture) -> Self:
        """Add a large image, such as a plot."""
        self._parts.append(picture_html(picture))
        return self

    def map(self, points: MapPoints) -> Self:
        """Add a scatter plot that shows the image of a point under the pointer."""
        self._parts.append(map_html(points))
        return self

    def to_html(self) -> str:
        """Return the whole page."""
        script = (_FOLDER / "page.js").read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        links = "".join(f'<a href="#section-{i}">{escape_html(text)}</a>' for i, text in enumerate(self._headings, 1))
        parts = {"script_hash": f"sha256-{digest}", "title": escape_html(self._title), "links": links}
        parts |= {"body": "\n".join(self._parts), "script": script}
        # In one pass, so that no text of the page is taken for a place to fill in.
        template = (_FOLDER / "page.html").read_text(encoding="utf-8")
        return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file, which is replaced if it exists."""
        with atomic_write(path) as temporary:
            # Names that are not Unicode are shown with replacement marks.
            temporary.write_text(self.to_html(), encoding="utf-8", errors="replace")
