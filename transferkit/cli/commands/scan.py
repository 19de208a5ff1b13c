"""`transferkit scan`: the contents and problems of a folder of images."""

from __future__ import annotations

import argparse
from typing import Any

from transferkit._utils.lazy import LazyModule
from transferkit.cli import options, output

tk: Any = LazyModule("transferkit")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("data", metavar="FOLDER", help="folder; images that are in several splits are reported too")
    parser.add_argument("--html", metavar="FILE", help="write the report as a page with thumbnails")
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read every image and print the report."""
    report = tk.scan(arguments.data)
    if arguments.html is not None:
        report.to_html(arguments.html)
    output.result(arguments, report.to_dict(), str(report))
    return 0
