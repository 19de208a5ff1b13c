"""`transferkit cache`: the size of the on-disk cache, and its deletion."""

from __future__ import annotations

import argparse
from typing import Any

from transferkit._utils.lazy import LazyModule
from transferkit.cli import options, output

cache: Any = LazyModule("transferkit.cache")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = "delete these caches, by default all but the downloads: features, engines, images, unpacked, downloads, "
    parser.add_argument("--clear", nargs="*", metavar="NAME", help=f"{text}file_info; requires --yes")
    parser.add_argument("--yes", action="store_true", help="confirm the deletion")
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the sizes, after the deletion where it is requested."""
    if arguments.clear is not None:
        if not arguments.yes:
            raise ValueError(
                f"`yes` must confirm the deletion. Received: without. The cache is {cache.info()}. Add --yes."
            )
        cache.clear(*arguments.clear)
    info = cache.info()
    output.result(arguments, {"folder": info.folder, "sizes": info.sizes, "limit": info.limit}, repr(info))
    return 0
