"""Checks of the arguments of `transferkit.export`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from transferkit._utils.checks import check_choice, check_fraction, check_number
from transferkit.exporting.formats import FORMATS, REASONS, format_of
from transferkit.exporting.options import INPUT_DTYPES, PRECISIONS, ExportFormat, ExportRequest
from transferkit.modeling.image_model import check_image_model
from transferkit.prediction import Predictor

# The largest difference of probabilities, and the smallest fraction of equal labels, by precision. Conversions in
# float32 differ by 1e-5 at most, by measurement; wrong ones by far more.
_LIMITS = {"float32": (1e-4, 1.0), "float16": (0.1, 0.98), "int8": (1.0, 0.95), "dynamic_int8": (1.0, 0.95)}


def checked_request(path: str | os.PathLike[str], **arguments: Any) -> ExportRequest:
    """Return the request of the arguments of `export`; raise a ValueError where they do not fit together."""
    chosen = _checked_format(arguments["format"], Path(path))
    precision = _checked_precision(chosen, arguments["precision"], arguments["calibration"])
    if arguments["encoded_images"] and chosen.name != "saved_model":
        raise ValueError(
            f"`encoded_images` must be False for {chosen.name!r}, which cannot decode files. Received: True. Use "
            "format='saved_model'."
        )
    tolerance, agreement = arguments["tolerance"], arguments["min_label_agreement"]
    return ExportRequest(
        chosen,
        precision,
        check_choice("input_dtype", arguments["input_dtype"], INPUT_DTYPES),
        arguments["features"],
        arguments["encoded_images"],
        _LIMITS[precision][0] if tolerance is None else check_number("tolerance", tolerance, minimum=0),
        _LIMITS[precision][1] if agreement is None else check_fraction("min_label_agreement", agreement),
    )


def checked_predictor(predictor: Any) -> Predictor:
    """Return the predictor of a classifier that can be exported; raise a TypeError or ValueError for any other."""
    make = getattr(predictor, "predictor", None)
    found = make() if callable(make) else predictor
    if not isinstance(found, Predictor):
        raise TypeError(
            f"`predictor` must be a Predictor or a Trainer. Received: {type(predictor).__name__}. Give a trainer or "
            "tk.load(folder); export the members of an ensemble one by one."
        )
    if found.num_views > 1:
        raise ValueError(
            f"`predictor` must predict one view of an image. Received: num_views={found.num_views}. Load the "
            "classifier without augmentation."
        )
    check_image_model(found.model)
    return found


def _checked_format(name: str | None, path: Path) -> ExportFormat:
    found = format_of(path)
    if name is None and found is None:
        raise ValueError(
            f"`format` must be given for a folder. Received: None and the path {str(path)!r}. Give one of "
            f"{', '.join(map(repr, FORMATS))}, or a path that ends in .onnx or .tflite."
        )
    chosen = FORMATS[check_choice("format", name or found, tuple(FORMATS))]
    if chosen.name != found and (chosen.suffix or found):
        kind = f"end in {chosen.suffix}" if chosen.suffix else "be the name of a folder"
        raise ValueError(
            f"`path` must {kind} for {chosen.name!r}. Received: {str(path)!r}. Change the path or the format."
        )
    return chosen


def _checked_precision(chosen: ExportFormat, precision: str, calibration: Any) -> str:
    check_choice("precision", precision, PRECISIONS)
    if precision not in chosen.precisions:
        raise ValueError(
            f"`precision` must be one of {', '.join(chosen.precisions)} for {chosen.name!r}. Received: {precision!r}. "
            f"{REASONS[chosen.name, precision]}."
        )
    if (precision == "int8") != (calibration is not None):
        remedy = "Give training images, for example calibration=data." if precision == "int8" else "Omit it."
        raise ValueError(
            f"`calibration` must be given for 'int8', and for nothing else. Received: precision={precision!r} "
            f"{'without' if calibration is None else 'with'} it. {remedy}"
        )
    return precision
