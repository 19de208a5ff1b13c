"""`transferkit backbones`: the catalogue, read without TensorFlow."""

from __future__ import annotations

import argparse
from typing import Any

from transferkit._utils.lazy import LazyModule
from transferkit.cli import options, output

catalogue: Any = LazyModule("transferkit.backbones.catalogue")
table: Any = LazyModule("transferkit.backbones.table")

_FILTER = (
    options.Option("max_parameters", "largest number of parameters, for example 5e6", float),
    options.Option("min_top1", "smallest top-1 accuracy on ImageNet, in [0, 1]", float),
    options.Option("family", "for example ResNet"),
    options.Option("preprocessing", "none, tf, torch, caffe or lite"),
)
_SORT = (
    options.Option("by", "column to sort by, for example top1 or parameters"),
    options.Option("descending", "the largest first", bool),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    options.add_options(parser, "rows", (*_FILTER, *_SORT))
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    values = vars(arguments)
    rows = catalogue.Catalogue(table.ROWS).filter(**options.given(values, _FILTER))
    rows = rows.sorted(**options.given(values, _SORT))
    output.result(arguments, rows.to_dicts(), str(rows) if rows else "no such backbone")
    return 0
