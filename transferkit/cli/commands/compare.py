"""`transferkit compare`: a leaderboard of backbones."""

from __future__ import annotations

import argparse
from typing import Any

from transferkit._utils.lazy import LazyModule
from transferkit.cli import options, output

tk: Any = LazyModule("transferkit")

_COMPARE = (
    options.Option("folds", "number of folds of the cross-validation", int),
    options.Option("l2", "L2 regularization of the linear probe", float),
    options.Option("results_file", "JSON file of scores, which are used again"),
    options.Option("engine", "auto, keras, frozen_graph or openvino"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("data", metavar="DATA", help="folder with one subfolder per class, or with splits; or a table")
    text = "names from `transferkit backbones`"
    parser.add_argument("--backbones", nargs="+", metavar="NAME", required=True, help=text)
    parser.add_argument("--out", metavar="FILE", help="write a plot of accuracy against time")
    options.add_options(parser, "comparison", _COMPARE)
    options.add_options(parser, "data", options.SOURCE)
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare; the exit status is 1 when every backbone failed."""
    values = vars(arguments)
    data = tk.DatasetBuilder(arguments.data, **options.given(values, options.SOURCE)).build()
    scores = tk.compare_backbones(data, arguments.backbones, **options.given(values, _COMPARE))
    if arguments.out is not None:
        scores.plot(arguments.out)
    output.result(arguments, scores.to_dicts(), str(scores))
    return int(all(score.error for score in scores))
