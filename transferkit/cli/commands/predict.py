"""`transferkit predict`: the classes or the numbers of images, printed or written to a table."""

from __future__ import annotations

import argparse
from typing import Any

from transferkit._utils.lazy import LazyModule
from transferkit._utils.text import printable
from transferkit.cli import options, output, workers

tk: Any = LazyModule("transferkit")
_LOAD = (options.Option("engine", "auto, keras, frozen_graph, openvino, onnx or litert"),)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("run_folder", metavar="RUN", help="folder of a saved classifier, or an exported model")
    parser.add_argument("images", nargs="+", metavar="IMAGES", help='files, folders or patterns such as "photos/*.jpg"')
    options.add_options(parser, "classifier", _LOAD)
    text = (
        "write a .csv, .jsonl or .parquet file, or with --workers a folder of Parquet files, also at a URL; the same "
        "command continues after an interruption"
    )
    parser.add_argument("--out", metavar="FILE", help=text)
    options.add_options(parser, "workers", workers.SHARDING)
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Predict; the exit status is 1 when no image could be read."""
    if "workers" in arguments:
        return _predict_many(arguments)
    workers.check_unused(vars(arguments))
    predictor = tk.load(arguments.run_folder, **options.given(vars(arguments), _LOAD))
    images = _images(arguments)
    if arguments.out is not None:
        written = predictor.predict_to(images, arguments.out)
        value = {"path": written.path, "images": written.images, "errors": written.errors}
        output.result(arguments, value, f"{written.path}: {written.images:,} images, {written.errors:,} errors")
        return int(written.errors == written.images)
    count = 0
    for prediction in predictor.iter_predict(images):
        count += prediction.error is None
        output.result(arguments, prediction.to_dict(), _shown(prediction))
    return int(not count)


def _predict_many(arguments: argparse.Namespace) -> int:
    sharding = workers.sharding_arguments(vars(arguments))
    if arguments.out is None:
        raise ValueError("`out` must be given with `workers`. Received: none. Add --out FOLDER.")
    predictor = tk.load(arguments.run_folder, **options.given(vars(arguments), _LOAD))
    return workers.print_shards(
        arguments, tk.predict_many(_images(arguments), predictor, out=arguments.out, **sharding)
    )


def _images(arguments: argparse.Namespace) -> Any:
    return arguments.images[0] if len(arguments.images) == 1 else arguments.images


def _shown(prediction: Any) -> str:
    if prediction.error is not None:
        return f"{printable(prediction.path)}\terror: {printable(prediction.error)}"
    if isinstance(prediction, tk.NumberPrediction):
        shown = [
            f"{number:.5g}" for number in (prediction.value, prediction.low, prediction.high) if number is not None
        ]
        return "\t".join([printable(prediction.path), *shown])
    return f"{printable(prediction.path)}\t{printable(prediction.label)}\t{prediction.probability:.4f}"
