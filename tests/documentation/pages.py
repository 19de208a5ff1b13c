"""Pages of the documentation, and the code blocks in them."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Code of other libraries, which is shown next to that of transferkit.
OTHER_LIBRARIES = ("fastai", "PyTorch")

_FENCE = re.compile(r"^```python(?P<attributes>[^\n]*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
_REQUIRES = re.compile(r"^# requires: (?P<names>.+)$", re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?P<target>[^()\s]+)\)")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of Python code.

    Attributes:
        page: path of the page.
        line: int, the line of the first line of code.
        code: str.
        library: str, the other library that the code uses, or "".
    """

    page: Path
    line: int
    code: str
    library: str = ""

    @property
    def missing(self) -> list[str]:
        """Packages that the block requires in its first line and that are not installed; "network" always is."""
        match = _REQUIRES.match(self.code)
        names = match["names"].split(", ") if match else []
        return [name for name in names if name == "network" or importlib.util.find_spec(name) is None]

    def compile(self) -> object:
        """Compile the code, with the line numbers of the page."""
        return compile("\n" * (self.line - 1) + self.code, str(self.page), "exec")


def name_of(page: Path) -> str:
    """Return the path of a page in the repository."""
    return page.relative_to(ROOT).as_posix()


def code_blocks(page: Path) -> list[Block]:
    """Return the blocks of Python code of a page, in order."""
    text = page.read_text(encoding="utf-8")
    blocks = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        library = next((name for name in OTHER_LIBRARIES if f'title="{name}"' in match["attributes"]), "")
        blocks.append(Block(page, line, match["code"], library))
    return blocks


def prose(page: Path) -> str:
    """Return the text of a page without its fenced blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Return the targets of the links and images of a page."""
    return [match["target"] for match in _LINK.finditer(re.sub(r"(?<!\[)`[^`\n]*`", "", prose(page)))]
