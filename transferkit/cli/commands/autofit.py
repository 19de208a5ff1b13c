"""`transferkit autofit`: from a folder of images to the best classifier within a time limit."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from transferkit._utils.lazy import LazyModule
from transferkit.cli import options, output

tk: Any = LazyModule("transferkit")
saving: Any = LazyModule("transferkit.saving")

_DEFAULT_OUT = "autofit"
_AUTOFIT = (
    options.Option("time_limit", "seconds, or 90s, 10m or 1h30m"),
    options.Option("backbones", "names from `transferkit backbones`; by default those on this machine", nargs="+"),
    options.Option("metric", "accuracy, balanced_accuracy, macro_f1, roc_auc, ..."),
    options.Option("goal", "accuracy, latency or size"),
    options.Option("max_trials", "number of heads that are tried, without fine-tuning", int),
    options.Option("seed", "of splits, samples, folds and heads", int),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("data", metavar="DATA", help="folder with one subfolder per class, or with splits; or a table")
    text = f"new or empty folder for the classifier; the default is {_DEFAULT_OUT}"
    parser.add_argument("--out", metavar="FOLDER", default=_DEFAULT_OUT, help=text)
    options.add_options(parser, "search", _AUTOFIT)
    options.add_options(parser, "data", options.SOURCE)
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Search, save the classifier, and print the leaderboard."""
    values = vars(arguments)
    # Before the search: an unsuitable folder must not cost its time.
    saving.check_folder(arguments.out)
    seed = options.given(values, [option for option in _AUTOFIT if option.name == "seed"])
    data = tk.DatasetBuilder(arguments.data, **seed, **options.given(values, options.SOURCE)).build()
    result = tk.autofit(data, **options.given(values, _AUTOFIT))
    folder = result.save(arguments.out)
    shown = shlex.quote(str(folder))
    lines = [str(result), f"{folder} has the classifier.", "Next:", f"  transferkit predict {shown} new_photos/"]
    output.result(arguments, {"folder": folder, **result.to_dict()}, "\n".join(lines))
    return 0
