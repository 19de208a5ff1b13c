"""`transferkit export`: a classifier for another runtime."""

from __future__ import annotations

import argparse
from typing import Any

from transferkit._utils.lazy import LazyModule
from transferkit.cli import options, output

tk: Any = LazyModule("transferkit")

_EXPORT = (
    options.Option("format", "saved_model, litert, onnx or openvino; by default from the extension of --out"),
    options.Option("precision", "float32, float16, int8 or dynamic_int8"),
    options.Option("calibration", "folder of training images, for int8"),
    options.Option("images", "folder of images for the verification"),
    options.Option("input_dtype", "float32 or uint8"),
    options.Option("features", "return the features too", bool),
    options.Option("encoded_images", "accept the contents of JPEG and PNG files too (saved_model)", bool),
    options.Option("license", "SPDX identifier of the license of the model"),
    options.Option("tolerance", "largest difference of probabilities", float),
    options.Option("min_label_agreement", "smallest fraction of equal labels", float),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("run_folder", metavar="RUN", help="folder of a saved classifier")
    text = "a .onnx or .tflite file, or a folder for saved_model and openvino"
    parser.add_argument("--out", metavar="PATH", required=True, help=text)
    options.add_options(parser, "export", _EXPORT)
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    """Export, verify, and print how the exported model compares."""
    predictor = tk.load(arguments.run_folder, engine="keras")
    report = tk.export(predictor, arguments.out, **options.given(vars(arguments), _EXPORT))
    output.result(arguments, report.to_dict(), str(report))
    return 0
