"""`transferkit train`: from a folder of images to a folder with a classifier, its report and its configuration."""

from __future__ import annotations

import argparse
import os
import shlex
from typing import Any

from transferkit._utils.lazy import LazyModule
from transferkit.cli import options as tables
from transferkit.cli import output, training
from transferkit.cli.run_folder import CURVES, REPORT, RunFolder

tk: Any = LazyModule("transferkit")

_DEFAULT_OUT = "run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options, named like the arguments of the API."""
    text = "folder with one subfolder per class, or with train/ and validation/; a table; or an archive"
    parser.add_argument("data", nargs="?", metavar="DATA", default=argparse.SUPPRESS, help=text)
    text = f"new or empty folder for the run; the default is {_DEFAULT_OUT}"
    parser.add_argument("--out", metavar="FOLDER", default=argparse.SUPPRESS, help=text)
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run when the new one is complete")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run, with its options")
    for title, rows in training.GROUPS.items():
        tables.add_options(parser, title, rows)
    tables.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train, evaluate and save."""
    folder = RunFolder(getattr(arguments, "out", _DEFAULT_OUT))
    values = _options(arguments, folder)
    data, values = training.build_data(values)
    trainer = training.build_trainer(data, values, folder.checkpoints)
    if not arguments.resume:
        folder.begin(values)
    try:
        is_complete = training.train(trainer, data, values, output.verbosity(arguments))
    except BaseException:
        if folder.cancel_without_epochs():
            output.note(_how_to_resume(folder))
        raise
    report = _save(folder, trainer, data, values)
    if not is_complete:
        output.note(f"Interrupted after epoch {trainer.history.epochs}, whose classifier is in {folder.path}.")
        output.note(_how_to_resume(folder))
        return 130
    folder.complete()
    _print_result(arguments, folder, trainer, data, report)
    return 0


def _options(arguments: argparse.Namespace, folder: RunFolder) -> dict[str, Any]:
    values = {name: value for name, value in vars(arguments).items() if name in training.NAMES}
    if arguments.resume:
        if values:
            raise ValueError(
                f"`resume` continues a run with its own options. Received: `{next(iter(values))}` too. Omit it, or "
                "train again in another folder."
            )
        return folder.options()
    folder.check_new(overwrite=arguments.overwrite)
    if "data" not in values:
        raise ValueError("`data` must be given. Received: nothing. Give a folder of images, for example photos/.")
    training.check_fine_tuning(values)
    return training.with_defaults({**values, **_absolute(values)})


def _save(folder: RunFolder, trainer: Any, data: Any, values: dict[str, Any]) -> Any:
    report = trainer.evaluate(data)
    with folder.replaced(values) as staging:
        trainer.save(staging, report=report)
        report.to_html(staging / REPORT, predictor=trainer.predictor())
        trainer.history.plot(staging / CURVES)
    return report


def _how_to_resume(folder: RunFolder) -> str:
    return f"Continue with: transferkit train --resume --out {shlex.quote(str(folder.path))}"


def _print_result(arguments: argparse.Namespace, folder: RunFolder, trainer: Any, data: Any, report: Any) -> None:
    split, path = "test" if "test" in data.splits else "validation", str(folder.path)
    low, high = report.confidence_interval()
    metric, measured = _metric(report)
    value = {"folder": path, "split": split, "epochs": trainer.history.epochs, "report": report.to_dict()}
    shown = shlex.quote(path)
    lines = [
        f"{path}: {metric} {measured:.4f} on {len(report.labels):,} {split} images "
        f"(95 % interval {low:.4f} to {high:.4f})",
        f"{path} has the classifier, {REPORT}, {CURVES}, and config.toml, which repeats the run.",
        "Next:",
        f"  transferkit predict {shown} new_photos/",
        f"  transferkit evaluate {shown} other_photos/ --html evaluation.html",
        f"  transferkit export {shown} --format onnx --out model.onnx",
        f"  transferkit serve {shown}",
    ]
    output.result(arguments, value, "\n".join(lines))


def _metric(report: Any) -> tuple[str, float]:
    """Return the name and the value of the metric of `report.confidence_interval()`."""
    if isinstance(report, tk.RegressionReport):
        return "mean absolute error", report.mean_absolute_error
    return "accuracy", report.accuracy


def _absolute(values: dict[str, Any]) -> dict[str, str]:
    """Return the paths among the options as absolute ones, so that the configuration works in any folder."""
    paths = {name: values[name] for name in ("data", "validation", "test", "weights") if name in values}
    return {name: os.path.abspath(path) for name, path in paths.items() if os.path.exists(str(path))}
