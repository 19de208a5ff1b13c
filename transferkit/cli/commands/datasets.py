"""`transferkit datasets`: example data sets."""

from __future__ import annotations

import argparse
from typing import Any

from transferkit._utils.lazy import LazyModule
from transferkit._utils.tables import text_table
from transferkit.cli import options, output

datasets: Any = LazyModule("transferkit.datasets")

_DATASETS = {
    "cats_and_dogs": "2,000 training and 1,000 validation photos, a download of 68.6 MB",
    "synthetic_cats_and_dogs": "synthetic images, without a network",
}
_SYNTHETIC = (
    options.Option("training", "number of images in train/", int),
    options.Option("validation", "number of images in validation/", int),
    options.Option("size", "side of the images in pixels", int),
    options.Option("seed", "of the images", int),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "name", nargs="?", choices=_DATASETS, metavar="NAME", help="data set to create; none for a list"
    )
    parser.add_argument("--out", metavar="FOLDER", help="folder of the data set; by default one in the cache folder")
    options.add_options(parser, "synthetic_cats_and_dogs", _SYNTHETIC)
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the list, or create a data set and print its folder."""
    synthetic = options.given(vars(arguments), _SYNTHETIC)
    if arguments.name is None:
        rows = [{"name": name, "description": text} for name, text in _DATASETS.items()]
        output.result(arguments, rows, text_table(_DATASETS.items(), "<<"))
        return 0
    if arguments.name == "cats_and_dogs":
        if synthetic:
            raise ValueError(f"`{next(iter(synthetic))}` is for synthetic_cats_and_dogs. Received: {arguments.name}.")
        folder = datasets.cats_and_dogs(arguments.out)
    elif arguments.out is None:
        raise ValueError("`out` must be given for synthetic_cats_and_dogs. Received: none. Add --out photos.")
    else:
        folder = datasets.synthetic_cats_and_dogs(arguments.out, **synthetic)
    output.result(arguments, {"name": arguments.name, "folder": folder}, str(folder))
    return 0
