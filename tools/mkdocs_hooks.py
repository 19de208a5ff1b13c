"""Hooks of MkDocs: pages of the repository that are outside docs/, and the language of translated pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
# Their links are relative to the repository, so that they work there too.
OUTSIDE = ("benchmarks/RESULTS.md", "CHANGELOG.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/."""
    for name in OUTSIDE:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to these pages point into the site, and links of these pages to docs/ too."""
    name = page.file.src_uri
    for outside in OUTSIDE:
        markdown = markdown.replace(f"](../{outside}", f"]({outside}").replace(f"](../../{outside}", f"](../{outside}")
    if name in OUTSIDE:
        markdown = markdown.replace("](docs/", "](").replace("](../docs/", "](../")
    return markdown


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Declare the language of translated pages, for screen readers and fonts."""
    if page.file.src_uri.startswith("zh/"):
        return output.replace('<html lang="en"', '<html lang="zh-Hans"', 1)
    return output
