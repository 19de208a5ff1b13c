"""`transferkit evaluate`: metrics of a classifier on labeled images."""

from __future__ import annotations

import argparse
from typing import Any

from transferkit._utils.checks import check_choice
from transferkit._utils.lazy import LazyModule
from transferkit.cli import options, output

tk: Any = LazyModule("transferkit")
_DATA = tuple(
    row for row in options.DATA if row.name in ("label_separator", "label_column", "on_error", "max_skipped_fraction")
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("run_folder", metavar="RUN", help="folder of a saved classifier, or an exported model")
    parser.add_argument("data", metavar="DATA", help="folder with one subfolder per class, or with splits; or a table")
    text = "train, validation or test; by default the last of these that DATA has"
    parser.add_argument("--split", metavar="NAME", help=text)
    parser.add_argument("--html", metavar="FILE", help="write the report as a page, with heat maps of mistakes")
    options.add_options(parser, "data", _DATA)
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print the report."""
    predictor = tk.load(arguments.run_folder)
    labels = {"target": "number"} if predictor.target == "number" else {"class_names": predictor.class_names}
    source = {"image_spec": predictor.image_spec, **labels, **options.given(vars(arguments), _DATA)}
    data = tk.DatasetBuilder(arguments.data, **source).build()
    present = [name for name in ("train", "validation", "test") if name in data.splits]
    split = present[-1] if arguments.split is None else check_choice("split", arguments.split, present)
    report = predictor.evaluate(data.splits[split])
    if arguments.html is not None:
        report.to_html(arguments.html, predictor=predictor)
    output.result(arguments, {"split": split, **report.to_dict()}, str(report))
    return 0
